// Package archiveprune removes segments from an archive that no sink has open: what
// the retention of the segment_file sink does, once. Which segments go is decided by
// sdk/wal/retention, for both.
//
// Nobody can ask here what other sinks and a server's slot still need; that is the
// caller's to know. What the archive itself needs to be continued stays in any case:
// its newest finished segment, and what follows.
//
// The directory is locked as the sink locks it. A dry run changes nothing, takes no
// lock, and may be done while a sink has the directory.
package archiveprune
