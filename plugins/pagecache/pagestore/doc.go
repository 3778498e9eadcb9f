// Package pagestore keeps WAL records by the page that they change, and makes any
// page as of any LSN of them, by redo. It is the storage of the page_cache sink: it
// knows records and pages, and neither hosts nor clients.
//
// # What is kept
//
// Every record that has a block reference is kept, under each page that it
// references; a heap record that clears bits of a visibility map which it does
// not reference is kept under the map's page too. Of the others those are kept
// that say something about files, relations or the state of transactions: all of
// XLOG, Storage, CLOG, Database, Tablespace, MultiXact, RelMap and CommitTs,
// Transaction's COMMIT, PREPARE, ABORT, COMMIT_PREPARED and ABORT_PREPARED, and
// all of extensions. Dropped are the records without block references of
// Standby, ReplicationOrigin, LogicalMessage, Generic, Sequence and the access
// methods (for recovery conflicts and logical decoding), and Transaction's
// ASSIGNMENT and INVALIDATION.
//
// # Directory
//
//	page_cache.format   the format's number, as text: read before anything else
//	page_cache.lock     locked while a process has the store open
//	values/0000000001   the log of values: records, appended once each, in WAL order
//	images/0000000001   the log of images: pages, of the base backup or made by redo
//	index/              a pebble store: keys that point into the logs, and the state
//
// # Values
//
// A file of the log begins with 64 bytes, little-endian, then has one entry after
// another without padding. An entry lies in one file; a file that holds
// MaxLogFile bytes or more gets no further entry.
//
//	 0       4       8               16      20          24               60
//	+-------+-------+---------------+-------+-----------+----------------+------+
//	|"WPV1" |format |system ident.  |number |0          | 36 bytes 0     |crc   |
//	+-------+-------+---------------+-------+-----------+----------------+------+
//
//	 0               8       12      16   17   18    20     24
//	+---------------+-------+-------+----+----+-----+------+-------------------
//	|start LSN      |end -  |length |kind|major| 0  |crc   | length bytes
//	|               |start  |       |    |     |    |      |
//	+---------------+-------+-------+----+----+-----+------+-------------------
//
// The bytes of an entry are the record's from xl_tot_len on, without page
// headers. Kind 1 is a whole record. Kind 2 is a fragment of a record above the
// limit up to which the sink has records put together: the fragments of a record are consecutive
// entries, and only the last has an end; those of a record that was never
// completed are in nobody's way. The major is PostgreSQL's. Each crc is the
// CRC-32C of what precedes it in the header and, in an entry, of its bytes.
//
// # Images
//
// The log of images has files and entries of the same form, numbered on their
// own, with entries of kind 3, whose start is the LSN of the key that leads to it,
// and whose end is 0. An entry's bytes, little-endian:
//
//	 0       4       8       12      16     18     20   21       24
//	+-------+-------+-------+-------+------+------+----+--------+------------
//	|table- |data-  |rela-  |block  |hole  |hole  |fork|0       | the page
//	|space  |base   |tion   |       |offset|length|    |        | but the hole
//	+-------+-------+-------+-------+------+------+----+--------+------------
//
// The hole is what lies between pd_lower and pd_upper, where that is all zero, or
// of length 0.
//
// # Keys
//
// Numbers in keys are big-endian, so that they sort; in values little-endian.
//
//	's'                                       → the state, see below
//	'i'                                       → what is durable of the images, see below
//	'p' spc32 db32 rel32 fork8 block32 end64  → pointer [pointer]: a version of a page
//	'r' spc32 db32 rel32 end64                → pointer kind8 forks8 block32 spc32: a
//	                                            relation was made, truncated, dropped;
//	                                            rel 0 is the whole database
//	'z' spc32 db32 rel32 fork8 end64          → blocks32: how long a fork is from a
//	                                            record on; FFFFFFFF: it is gone
//	'l' end64                                 → pointer rmgr8 info8: a record without
//	                                            block reference
//	't' stretch64                             → time64 least32 greatest32: of the
//	                                            commits and aborts that end in 16 MiB
//	                                            of WAL, stretch<<24 the first byte
//	'f' number32                              → first start64, last end64, length64:
//	                                            a file of the log that is complete
//	'g' number32                              → live64 length64: bytes of entries of a
//	                                            file of images to which keys lead; the
//	                                            file's length, 0 while it is not complete
//	'm' end64                                 → micros64: when a COMMIT or ABORT was,
//	                                            since 2000-01-01 UTC; of one every 10 s
//	'x'                                       → next xid u32, u8 whether times of commits
//	                                            are kept (0 not known, 1 no, 2 yes), 3
//	                                            bytes 0: after the last record
//	'w'                                       → LSN u64: a Rewind has gone back to it, and
//	                                            keys beyond it may be left
//
// A pointer is 14 bytes: file u32, offset u32 of the entry, length u32 of the
// record, flags u8, block id u8 of the reference in the record. Flags say what
// the record does to the page:
//
//	0x01 redo initialises it, 0x02 redo restores it from an image; else its former
//	content is needed; 0x04 the record is in fragments; 0x08 the record does not
//	reference the page (a visibility map); 0x10 a second pointer follows, without
//	flags and block id: to the image of the page as it is after the record; 0x20
//	there is no record: with 0x10, it was collected or the page is of the base
//	backup, else the page was changed by records that were collected, and what it
//	was is not known
//
// A kind is 1 relation made, 2 truncated to block blocks, 3 dropped; 4 database
// made, 5 made by copying files, 6 dropped. Bit 1<<fork of forks is set for each
// fork concerned. Of kind 5, block is the database that was copied, and spc its
// tablespace; else spc is 0. Of a pseudo relation of an SLRU it is 7 files were
// removed, or 8 all of them: of kind 7, block is the first page that stays for sure,
// but of pg_multixact/members the files from number block on, and not number spc, go.
//
// A fork's size is written with each record that changes it: a reference to a
// block beyond its end, which redo extends it to, a truncation, and what makes or
// drops it. What happens to a database as a whole is not written for each of its
// forks: its last key of the relation space ends all sizes before it, and where
// its files were copied, leads to those of the other database.
//
// A stretch's time is the latest of its commits, and the other two enclose the
// transactions and subtransactions that ended in it: whoever looks for one reads
// the records of few stretches. They can be too far, never too near.
//
// The state, 88 bytes: system identifier u64, timeline u32, wal_segment_size
// u32, horizon u64, position u64, end of the last record u64, last-valid LSN u64,
// log file u32, 0 u32, length of that file u64, its first start LSN u64, its last
// end LSN u64, start of the base backup u64 (0: the store began without one).
//
// What is durable of the images, 40 bytes: log file u32, 0 u32, length of that file
// u64, horizon u64 of what was collected (0: nothing was), LSN u64 up to which no
// key needs the log of values, LSN u64 up to which long histories have images.
//
// SLRU pages and relation maps are pages of pseudo relations, in tablespace 0,
// which no relation has. Page n of the SLRU of a kind (package slru) is block n of
// {0, 0, kind}; each record that changes it has a key under it with flag 0x08, and with
// 0x01 where the record makes the page. It is there from there on, or from the base
// backup on, until its file is removed: other changes are nothing then, as the times of
// commits that a server does not keep. Of a record in fragments a read has one in memory
// at a time. The relation map of a database in a tablespace is block
// "tablespace" of {0, database, 5}, and its first bytes are the file's; a record
// that brings a map is an image of it. A database that is made, copied or dropped
// concerns its map as it does the pages of its relations.
//
// # Base backup
//
// A store can begin with a base backup. Its pages lie in the log of images, under
// keys whose end is the LSN at which the backup began, with flags 0x30; pages that
// are all zero have no key. They were copied while the server changed them: the
// horizon is where the backup ended. Between the two, a record that a page has
// already, by pd_lsn, is passed over; but all that changes a visibility map is done
// again, since not all of it sets the LSN of its page.
//
// Such a store is complete: a page that no record touched is all zero if the
// relation has it, and of a page without a base, it was all zero before. Until the
// import ends there is no state, and a store without one is emptied when it is
// opened.
//
// # Reads
//
// A page's keys are read from the last one at or before the LSN back to its base:
// an image that redo restores, a record that initialises the page, or an image in
// the log of images. What the
// relation went through since then is in its own keys. Where it was made, or had
// lost the page to a truncation or a drop, the page began as zero bytes there; the
// maps' pages count as made with the main fork. A truncation that leaves a page of
// the visibility map in part is one more record that changes it; a free space map
// is known again at its next image. Where a database was made by copying files, its
// pages begin as what they were in the database that was copied, as of then. From the base on all records are done to the
// page in order (package redo).
//
// # Collecting
//
// Collect raises the horizon and takes away what no read needs any more. Every page
// with versions at or before it gets an image of the last of these, under that
// version's key, which loses its record (flags 0x30); the page's keys before it go.
// Of sizes and of changes of relations the last ones stay that say something; of
// the keys in the order of the WAL, none. Files of the log of values go whose
// records all end at or before the horizon, and files of images are rewritten when
// half of their bytes is not live. A database that was copied keeps its pages as of
// the copy too, as long as the copy can be read.
//
// A page that cannot be made by redo, as one without a base, keeps one key that
// says that it was changed (flag 0x20 alone): it is known again at its next image.
//
// The horizon becomes durable before anything is deleted, and the LSN up to which
// the log of values is not needed after all is; one that was interrupted begins
// again between the two. Files are removed when no key leads to them and all
// readers have left that may have seen one that did.
//
// Collect makes images of pages with long histories, too, each under the key of a
// record (flag 0x10), so that a read does a bounded number of records.
//
// Whoever owns the store calls Collect on a timer, as the page_cache sink does with
// its settings retain (bytes of WAL), retain_age and max_replay. The horizon moves
// when a quarter more than what is to be kept is there.
//
// # Memory
//
// Pages that were read stay in memory, each with the LSNs from which and to which
// it is known to be the same. Commit notes, by hash, when pages, relations and
// databases were changed last: a page is the same still where that was before. A
// page that was changed since is read from there on.
//
// # Durability
//
// Commit writes the log of values, fsyncs it, and then commits all keys and the state in
// one synced batch of the index. So a state that can be read names only what the
// log holds, and what the log holds beyond the state's length is not there:
// the next entry overwrites it. Since a record's keys and the position after it
// are in one atomic batch, WAL that is delivered again from the position is
// stored exactly once.
//
// Rewind says how the store goes back to a switch point, and over to the timeline
// that begins there. What the log holds beyond it is cut off like what was never
// committed. Tables of the index carry the least and the greatest LSN of the keys
// in each block, so that keys beyond an LSN are found without reading all.
//
// Readers see what is committed and nothing else: what was read from the store
// once can be read after a crash too, unless a Rewind took it back.
package pagestore
