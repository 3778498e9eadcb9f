// Package pagecache is the sink page_cache: it keeps every WAL record under each
// page that the record changes, and answers what a page was as of any LSN since
// it began: GetPage@LSN.
//
//	sink "page_cache" "pages" {
//	  config {
//	    directory = "/var/lib/walplex/pages"
//	  }
//	}
//
// Package pagestore says what is kept, and how; package pagepb is the service
// that answers reads, on a Unix socket that only the sink's user can connect to,
// and, with listen_tcp, over TCP to clients that have a certificate of the
// authority tls_client_ca. There is no TCP without TLS: whoever reads pages reads
// all data of the server.
//
// # Pages
//
// With base_backup = true a new cache begins with a base backup, which the host
// takes, and then has every page: of relations, of the transactions' states, and
// the relation maps. A block that the relation has and nothing was ever logged of
// is all zero.
//
// Without one, a page is its newest image up to the LSN, or what a record has
// initialised, or an empty page of a relation that was made since the cache began,
// and all records after that, done to it as recovery does them. A page that was
// changed since the cache began and has had no image since cannot be read yet: the
// first change after a checkpoint brings one (full_page_writes). A block that no
// record touched is not found, even where the relation has it.
//
// The page is what a standby has, not byte for byte what the server had: hint bits
// that were never logged, the free space map between its images and the checksum
// are not in the WAL, and a sequence is ahead there by the values that the server
// logs in advance.
//
// # What is stored
//
// All databases; with databases and relations in the settings only those, and
// shared catalogs, relation maps and the transactions' states in any case. What
// else there is, reads are told is not kept here. These settings can be narrowed
// later, not widened: the file page_cache.keeps in the directory remembers what
// the history is of. A filter of the host's is refused, since a page of which
// records are missing is wrong.
//
// With retain and retain_age what history lies before what either keeps is
// collected, every retain_interval, and the horizon rises. In any case a page with
// a long history gets an image now and then, so that a read replays some max_replay
// records at most.
//
// # Positions
//
// Keys, records and position become durable in one atomic step, at Flush, or
// earlier where more is pending than memory is meant for. Readers see exactly
// what is durable: applied is flushed, and a page that was served once is served
// again after a crash. Whoever waits for an LSN therefore waits for the flush
// that covers it; the host asks for one whenever it has nothing more to send.
//
// A new cache begins at the position at which the host starts it, or with the end
// of its base backup. That is its horizon: no page can be read as of an earlier
// LSN. A base backup that was interrupted leaves nothing.
//
// A record is put together up to 16 MiB; larger ones, none of which references a
// page, are kept in fragments.
//
// # Timelines
//
// Where the server was promoted, whatever lies beyond the switch point is deleted,
// before the new timeline is gone over to: reads never mix two timelines. A read
// at an LSN that was taken back is not answered from the old timeline; it waits for
// the new one's WAL to come that far, and so does one that was waiting, each until
// its own deadline, whose error names the timeline. A switch point before the
// horizon takes the horizon back to it, and leaves nothing.
package pagecache
