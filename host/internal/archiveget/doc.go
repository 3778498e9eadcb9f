// Package archiveget gives single files of an archive to a server that recovers:
// it is what restore_command runs (walplex archive get).
//
// # What PostgreSQL makes of the exit status
//
// RestoreArchivedFile (src/backend/access/transam/xlogarchive.c) knows three
// answers, and the difference between the last two is a database that lacks its
// newest transactions without a word:
//
//	0          the file is at DEST; a segment of the wrong size is FATAL
//	1 to 125   the file does not exist: the WAL ends here, recovery is complete,
//	           the server opens for writes on a new timeline
//	above 125  FATAL: recovery stops and can be started again; so does any signal
//	           (SIGTERM, and 143 from a shell, end the server's process in order)
//
// So only [NotThereError] may become 1: every directory was looked into, and the
// file is in none. Whatever else went wrong, be it with a directory, a file, DEST
// or the disk, must become a status above 125, even where a later try might
// succeed: a server cannot be told to try again, only to stop or to go on without.
// A standby stops too, and is started again by whoever watches over it.
//
// # What is given
//
// The directories are tried in order, a finished segment in any of them before a
// partial one in any. A file that is damaged is passed over when another
// directory, or another form of it, has it whole; then Served.Warnings names it.
//
//   - A finished segment, plain or compressed, is given when its size is what its
//     own header says and the header is that of its name. Its records are not
//     read: PostgreSQL reads them next.
//   - History files must be readable as such; backup history files go as they are.
//   - A segment that is only there as .partial is given as far as its records
//     hold, zeros behind that, in the full size that PostgreSQL insists on. A
//     record that began in a segment before is read from there.
//
// # Partial segments and timelines
//
// After a promotion the old timeline's last segment stays .partial, beside the new
// timeline's segment of the same number, which begins with a copy of it up to the
// switch point. A server that recovers along the new timeline asks for the new
// one first, and for the old one only where there is no new one; it would replay
// the old one beyond the switch point, where the old server wrote what is not part
// of the new history. Which timeline the server follows it does not say. So a
// .partial is given only up to the least switch point at which any history file
// in the archive leaves its timeline, and not at all where that lies before it.
// Whoever recovers to the end of the old timeline itself says so with
// Options.Timeline: then only that timeline's own history counts.
//
// PostgreSQL never asks for a name that ends in .partial.
//
// A .partial in whose midst the WAL ends is an error where later segments of its
// timeline are there, or a history file says that the timeline went on behind the
// segment: that is not the end of the WAL but a hole.
package archiveget
