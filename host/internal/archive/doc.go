// Package archive reads WAL from a directory of segments, as a server's
// replication would give it: for filling a new sink with what an archive holds.
//
// The directory is one that segment_file, pg_receivewal, an archive_command or
// the server itself has filled: segments under their names, the newest perhaps
// as NAME.partial, any of them compressed as NAME.gz, NAME.lz4 or NAME.zst. A
// partial one that is compressed is NAME.partial.gz, or as pg_receivewal names it
// NAME.gz.partial. [ParseName], [OpenFile] and [ParseHeader] read such a directory
// for others: for giving files to a server, and for verifying.
//
// What comes out is WAL whose pages, links and checksums hold, in order, without
// a gap. It ends where that ends: in zeros, in a record that is not complete, in
// a recycled segment, or where the next segment is missing. A hole between
// segments is an error that names it. What lies behind the last whole record is
// not handed out.
package archive
