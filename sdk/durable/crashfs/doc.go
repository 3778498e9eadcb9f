// Package crashfs is a file system in memory that forgets on power loss what was
// not synced: what a test puts behind [durable.FS] to see whether a sink really
// holds what it has reported flushed. (A killed process proves nothing of the
// kind: the kernel keeps its unsynced bytes.)
//
// # The model
//
// There are two images, the one that programs see and the one on disk. Between
// them, until synced, lie
//
//   - the dirty pages of each file, [PageSize] bytes each: File.Sync and SyncData
//     write all of them; power loss finds any subset of them written;
//   - each file's size: written by Sync and SyncData; after power loss it is the old
//     one, the new one, or one between when the file grew. A part that was never
//     written reads as zeros;
//   - the names created, linked, renamed and removed in a directory: SyncDir writes
//     all of the directory's; power loss finds any subset of them done. A rename is
//     one of them, done wholly or not at all.
//
// [FS.Crash] is power loss, [FS.Kill] the death of the process only, [FS.Writeback]
// what the kernel may write by itself at any time. A file's bytes do not make its
// name durable, nor the other way round.
//
// A failed Sync leaves the file's dirty pages clean and unwritten, as Linux does:
// what they held can still be read, is lost on power loss, and a second Sync that
// succeeds does not save it.
//
// Everything random comes from the generator that the test hands in. Links between
// directories are refused (EXDEV), so are symbolic links and permission checks:
// put those in as faults ([FS.Inject]).
package crashfs
