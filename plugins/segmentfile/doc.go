// Package segmentfile is the sink "segment_file": it keeps the WAL as the files
// that PostgreSQL itself would keep, byte for byte, so that they can be restored
// from. This page is the contract of what lies in its directory.
//
// # On disk
//
//	directory/
//	├── 000000010000000000000041.zst        a finished segment, compressed if that is set
//	├── 000000010000000000000042            another, wal_segment_size bytes; names as in pg_wal
//	├── 000000010000000000000043.partial    where timeline 1 was left
//	├── 00000002.history                    the history file of timeline 2
//	├── 000000020000000000000043            timeline 2 has this segment from its start
//	├── 000000020000000000000044.partial    the segment being received
//	├── .walplex-segment_file               {"version":2}, the version of this format
//	└── .walplex.lock                       locked (flock) while a sink is open
//
// A segment under its final name is whole and durable, and is never changed or
// replaced again. The bytes of a .partial lie at their offsets; its size is that
// of a whole segment from the start, unless preallocate is off, and says nothing
// about how much has been received. Everything else in the directory is left alone:
// .partial files of older segments and timelines, files of other programs.
//
// A directory that pg_receivewal has filled is such a directory as well, with
// --compress too. To a segment that it has left incomplete and compressed
// (NAME.gz.partial) nothing can be added: it is received again from its start, and
// that file is left alone. Format version 1 is a directory of plain segments of one
// timeline.
//
// # Order of writing
//
//	write … write   bytes at their offsets in NAME.partial
//	Flush           fdatasync NAME.partial, and fsync the directory if the file is new;
//	                with sync = "o_dsync" each write is durable when it returns
//	segment full    fdatasync NAME.partial · link NAME.partial NAME · fsync the directory ·
//	                unlink NAME.partial · create the next one
//	large blocks    their pages are written past the page cache (O_DIRECT), where nothing
//	                in the configuration and in the file system speaks against it
//	compression     beside that: write and fsync NAME.zst.tmp · compare it with NAME ·
//	                rename it to NAME.zst · fsync the directory · unlink NAME
//
// So NAME.partial of a segment is made only when the name of the one before it
// is durable, and power loss leaves no hole. A link cannot replace a file: when
// NAME is there already with other bytes, the sink stops, and names both SHA-256
// checksums. Power loss may leave a segment in two files; then their content is
// compared and the one that was to go is removed, and so is a NAME.zst.tmp.
// At most maxPending segments wait for their compression; then WAL waits.
//
// # Timelines
//
// Where the server is promoted, what was received of the old timeline is made
// durable and stays as it is, what lies behind the switch point too: the last
// segment keeps the name .partial, unless it was full. Then the new timeline's
// history file is written, durably (another one of the same name stops the sink),
// and the switch point's segment is received again from its start, under the new
// timeline's name. What it holds before the switch point must be what the archive
// holds.
//
// Power loss before the first page of the new timeline is durable leads back to
// the old timeline's position; the switch is then told again.
//
// # Position
//
// It is found from the bytes alone. The newest segment of the highest timeline
// that has one tells where the archive ends: behind it when it is finished, and in a .partial
// at the end of the last record whose checksum holds. A record that began in the
// segment before is read from there. What lies behind that end, whatever it is,
// is cut off, and the rest is made durable, before the position is answered: bytes
// that were found may never have reached the disk.
//
// The position after a restart may therefore lie before what was flushed, by the
// part of a record that was incomplete then. It is never before the start of the
// .partial, nor before the end of a record that was flushed.
//
// Where the first segment of an archive begins with the rest of a record whose
// start is not kept, no checksum covers that rest; it is made durable before
// anything behind it is written.
//
// When segments are missing between others, the position is that of the newest
// ones, and each hole is logged.
//
// # Retention
//
// With a block retention, segments are removed that its rules do not keep and that
// nobody needs: package sdk/wal/retention says which. Not before the host has told
// what other sinks and the slot need (Retain), and never from there on; nor the
// newest finished segment, what a record takes that reaches beyond it, and what
// follows. History files stay, and so does all that is not named as a segment.
//
//	unlink the oldest segment · fsync the directory · the next one
//
// What was removed leaves no hole therefore, after power loss either. A removal
// that fails is logged and tried again; only a failed fsync of the directory is a
// fault of the sink, since the kernel tells of it once.
//
// # Continuity
//
// The first record received after Open is checked to follow the last one that is
// kept (its back-link, the continuation and the checksum of a record cut by the
// position), so that the WAL of a server that has taken another history under
// the same system identifier and timeline does not get into the archive.
package segmentfile
