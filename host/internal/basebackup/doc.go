// Package basebackup takes base backups through the replication protocol
// (backup/basebackup.c), checks every byte of them against the server's manifest
// while it comes, and stores them durably.
//
// [Receive] is the part that others can use: it takes a backup apart into files,
// gives them to a [Receiver], and verifies. [Take] is `walplex archive
// base-backup`: a Receiver that writes a data directory or tar archives.
//
// # What is verified
//
// Each file's size and checksum against the manifest; that no file is missing and
// none is there that the manifest lacks; the manifest's checksum over itself; that
// its WAL ranges and system identifier are what the server has answered. A backup
// that does not hold is an error, and nothing of it stays.
//
// # On disk
//
//	DIR.tmp/                        while the backup runs
//	├── unfinished                  locked (flock): this directory is ours
//	├── tablespaces                 the tablespaces' directories, a line each; plain only
//	├── data/                       what becomes DIR
//	└── backup.json                 what becomes DIR.backup.json
//	DIR/                            plain: the data directory, with backup_label and backup_manifest
//	DIR/base.tar[.gz|.zst|.lz4]     tar: the data directory, with a tablespace_map; OID.tar beside
//	DIR/backup_manifest             tar: never compressed
//	DIR.backup.json                 [Summary]: beside, since a data directory holds no other files
//
// The order is:
//
//	write and fsync each file · verify · fsync every directory · write backup.json
//	rename DIR.tmp/data to DIR · fsync · rename backup.json to DIR.backup.json · fsync
//	remove DIR.tmp
//
// So DIR is a whole backup, after power loss too, or it is not there (an empty
// directory under that name is replaced). What a kill -9 leaves is DIR.tmp, and in
// a plain backup the tablespaces' directories, which were empty or missing before:
// the next run for the same DIR removes that and empties these, or, where only the
// last steps were missing, takes those.
//
// # The archive
//
// A backup without the WAL from its start to its end cannot be restored. With an
// archive, Take writes the backup history file into it that PostgreSQL's own
// archiving would get, so that retention keeps what the backup needs, and waits
// until that WAL is there.
package basebackup
