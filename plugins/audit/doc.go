// Package audit is the sink that writes down what every WAL record did: JSON
// Lines, one object a record, in files that are only ever appended to.
//
// # Lines
//
// A record's line, and only a record's line, has "start_lsn". Names are
// PostgreSQL's, the order of the fields is fixed, there is no white space (nor
// the line breaks that are here):
//
//	{"start_lsn":"0/30000D8","end_lsn":"0/3000118","prev_lsn":"0/3000060","timeline":1,"xid":731,
//	 "rmgr":"Heap","operation":"INSERT+INIT","length":63,"main_data_length":3,
//	 "blocks":[{"id":0,"rel":"1663/5/16384","fork":"main","block":0,"will_init":true}]}
//
//	start_lsn         string  LSN of the record's first byte, as pg_lsn prints it
//	end_lsn           string  PostgreSQL's EndRecPtr: pd_lsn of the pages that it changed
//	prev_lsn          string  xl_prev: start_lsn of the record before it
//	timeline          number  timeline of the WAL
//	xid               number  transaction, 0 none
//	toplevel_xid      number  of a subtransaction's first record with wal_level=logical
//	origin            number  replication origin, when there is one
//	rmgr              string  resource manager, as pg_waldump prints it
//	operation         string  as pg_waldump of the record's major names it; unique with rmgr
//	xact_time         string  of COMMIT, ABORT, COMMIT_PREPARED, ABORT_PREPARED, PREPARE: RFC 3339, UTC, microseconds
//	length            number  xl_tot_len, bytes
//	main_data_length  number  bytes
//	blocks            array   the block references; not there when the record has none
//
//	id                number  block_id; there may be gaps
//	rel               string  tablespace/database/relfilenode
//	fork              string  main, fsm, vm, init
//	block             number
//	will_init         true    redo makes the page from the record alone
//	image_bytes       number  bytes of the page's image as stored (no hole, compressed); not there without image
//	apply             true    redo restores the image; else it is for wal_consistency_checking
//
// What is zero or false and marked "when" or "true" is not there. New fields may
// come in later versions; readers pass over what they do not know.
//
// # Files
//
// A file is named after the timeline and the LSN of its first record, such as
// 00000001-00000000030000D8.jsonl, so that names sort in the order of the WAL.
// Its first line is a header:
//
//	{"walplex_audit":1,"system_id":"7311234567890123456","timeline":1,"from":"0/30000D8","level":"record"}
//
// walplex_audit is the version of this format, system_id is a string because it
// has 64 bits, from is start_lsn of the next line. While the sink has a filter the
// header ends in "filtered":true: records are missing between the lines because
// the user wants so. A file ends before the record that would make it larger than
// rotate_bytes, and where timeline, level or filtered change. Old files may be moved away at any time, all but the newest.
//
// # Timelines
//
// Where the source was promoted its WAL goes on on a new timeline, from a switch
// point that may lie before records that are in the trail already: those never
// belonged to the new timeline. Their lines stay, and a rewound line, the last of
// its file, says so:
//
//	{"rewound":{"old_timeline":1,"switch_lsn":"0/3000100","new_timeline":2,"from_lsn":"0/3000150","to_lsn":"0/3000100"}}
//
//	old_timeline  number  timeline of the trail up to this line
//	switch_lsn    string  where the server's history left it
//	new_timeline  number  timeline of the lines that follow, in files of its own
//	from_lsn      string  position before: no line is of a later record
//	to_lsn        string  position after: the end of a record, at most switch_lsn
//
// So whoever reads the files in order drops, at a rewound line, all records before
// it with end_lsn > to_lsn, and has each record of the server's history once. A
// switch that takes nothing back has the line too, with to_lsn = from_lsn. There is
// none where the trail has no file yet.
//
// # Position
//
// What is durable is written beside the files, in position.json: two slots of
// 4096 bytes, written by turns, of which the valid one with the higher seq
// holds. A slot is a line padded with spaces:
//
//	{"walplex_audit_position":1,"seq":12,"system_id":"7311234567890123456","timeline":1,"lsn":"0/3000118",
//	 "file":"00000001-00000000030000D8.jsonl","offset":381,"crc32c":"c201f48d"}
//
// Every record that ends at or before lsn is in the files up to byte offset of
// file; the CRC-32C is of the line's bytes before ,"crc32c". LSN 0/0 says that
// nothing is held yet.
//
// A flush makes the file durable, then its name if it is new, then the slot. So
// a slot never tells of bytes that power loss could take, and a torn slot
// leaves the one before it. On Open the file is cut to offset, files after it
// are removed, and the slot is written again, all durably, before the position
// is answered: a process that was killed may have left any of it in memory only.
// What was cut is delivered again, and makes the same lines: none is missing and
// none is there twice.
//
// The slots cost one fdatasync besides the file's own (0.5 ms a flush on the
// disk where a temporary file, its rename and fsyncs of both and the directory
// took 0.9 ms). One fdatasync in all would do if lines that lie behind the
// position were taken for durable when they parse, but then every line needs a
// checksum, and a flush that moves the position without a line needs the slot
// anyhow.
package audit
