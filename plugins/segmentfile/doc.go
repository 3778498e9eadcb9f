// Package segmentfile is the sink "segment_file": it keeps the WAL as the files
// that PostgreSQL itself would keep, byte for byte, so that they can be restored
// from. This page is the contract of what lies in its directory.
//
// # On disk
//
//	directory/
//	├── 000000010000000000000041            a finished segment, wal_segment_size bytes
//	├── 000000010000000000000042            another; names as in pg_wal
//	├── 000000010000000000000043.partial    the segment being received
//	├── .walplex-segment_file               {"version":1}, the version of this format
//	└── .walplex.lock                       locked (flock) while a sink is open
//
// A segment under its final name is whole and durable, and is never changed or
// replaced again. The bytes of a .partial lie at their offsets; its size is that
// of a whole segment from the start and says nothing about how much has been
// received. Everything else in the directory is left alone: timeline history
// files, .partial files of older segments and timelines, files of other programs.
//
// A directory that pg_receivewal has filled is such a directory as well, but for
// one whose newest segment is compressed.
//
// # Order of writing
//
//	write … write   bytes at their offsets in NAME.partial
//	Flush           fdatasync NAME.partial, and fsync the directory if the file is new
//	segment full    fdatasync NAME.partial · link NAME.partial NAME · fsync the directory ·
//	                unlink NAME.partial · create the next one
//
// So NAME.partial of a segment is made only when the name of the one before it
// is durable, and power loss leaves no hole. A link cannot replace a file: when
// NAME is there already with other bytes, the sink stops. Power loss between the
// link and the durable unlink leaves both names; then the bytes are compared and
// NAME.partial is removed.
//
// # Position
//
// It is found from the bytes alone. The newest segment of the highest timeline
// tells where the archive ends: behind it when it is finished, and in a .partial
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
// # Continuity
//
// The first record received after Open is checked to follow the last one that is
// kept (its back-link, the continuation and the checksum of a record cut by the
// position), so that the WAL of a server that has taken another history under
// the same system identifier and timeline does not get into the archive.
package segmentfile
