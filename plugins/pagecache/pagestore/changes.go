package pagestore

import "github.com/walplex/walplex/sdk/wal"

// change is what a record does to a relation as a whole, or to a database
// (relation 0).
type change struct {
	rel   wal.RelFileLocator
	kind  changeKind
	forks uint8           // bit 1<<fork for each fork concerned
	block wal.BlockNumber // of a truncation: blocks of the main fork that stay
	from  database        // of a copy: what was copied
	to    uint32          // of a cut of pg_multixact/members: the first file that stays, block being the first that goes
}

// database is a database's directory in a tablespace.
type database struct {
	spc, db wal.OID
}

type changeKind uint8

// Kinds of change; they are on disk.
const (
	relationCreated changeKind = 1
	relationCut     changeKind = 2
	relationDropped changeKind = 3
	databaseCreated changeKind = 4 // its pages follow in the WAL
	databaseCopied  changeKind = 5 // its files were copied, and are not in the WAL
	databaseDropped changeKind = 6
	slruCut         changeKind = 7 // files of an SLRU were removed
	slruEmptied     changeKind = 8 // all of them
	allForks                   = 1<<wal.MainFork | 1<<wal.FSMFork | 1<<wal.VisibilityMapFork | 1<<wal.InitFork
)

// Operations of Storage (catalog/storage_xlog.h) and the bits of a truncation's
// flags.
const (
	smgrCreate   = 0x10 // XLOG_SMGR_CREATE
	smgrTruncate = 0x20 // XLOG_SMGR_TRUNCATE

	truncateHeap = 0x1 // SMGR_TRUNCATE_HEAP
	truncateVM   = 0x2 // SMGR_TRUNCATE_VM
	truncateFSM  = 0x4 // SMGR_TRUNCATE_FSM
)

// Operations of Database (commands/dbcommands_xlog.h).
const (
	dbaseCreateFileCopy = 0x00 // XLOG_DBASE_CREATE_FILE_COPY; XLOG_DBASE_CREATE before PG15
	dbaseCreateWALLog   = 0x10 // XLOG_DBASE_CREATE_WAL_LOG, since PG15
	dbaseDrop           = 0x20 // XLOG_DBASE_DROP, since PG15
	dbaseDrop14         = 0x10 // XLOG_DBASE_DROP, before PG15
)

const infoMask = 0xF0 // ~XLR_INFO_MASK

// put writes kind8 forks8 block32 spc32. A copy has the database that was copied
// in block and spc.
func (c *change) put(b []byte) {
	b[0], b[1] = byte(c.kind), c.forks
	block := uint32(c.block)
	if c.kind == databaseCopied {
		block = uint32(c.from.db)
	}
	le.PutUint32(b[2:], block)
	le.PutUint32(b[6:], uint32(c.from.spc)|c.to)
}

// parseChange reads what put wrote.
func parseChange(rel wal.RelFileLocator, b []byte) change {
	c := change{rel: rel, kind: changeKind(b[0]), forks: b[1]}
	if c.kind == databaseCopied {
		c.from = database{db: wal.OID(le.Uint32(b[2:])), spc: wal.OID(le.Uint32(b[6:]))}
	} else {
		c.block, c.to = wal.BlockNumber(le.Uint32(b[2:])), le.Uint32(b[6:])
	}
	return c
}

// appendChanges appends what a record of Storage or Database does. Main data
// that is too short says nothing.
func appendChanges(dst []change, rec *wal.Record) []change {
	main := rec.MainData()
	switch op := rec.Info & infoMask; {
	case rec.RmgrID == wal.RmgrStorage && op == smgrCreate && len(main) >= 16:
		// xl_smgr_create: rlocator, forkNum as int
		return append(dst, change{rel: locator(main), kind: relationCreated, forks: 1 << (le.Uint32(main[12:]) & 7)})
	case rec.RmgrID == wal.RmgrStorage && op == smgrTruncate && len(main) >= 20:
		// xl_smgr_truncate: blkno, rlocator, flags as int
		return append(dst, change{rel: locator(main[4:]), kind: relationCut, block: wal.BlockNumber(le.Uint32(main)),
			forks: truncatedForks(le.Uint32(main[16:]))})
	case rec.RmgrID == wal.RmgrDatabase:
		return appendDatabase(dst, op, rec.Version, main)
	}
	return dst
}

func truncatedForks(flags uint32) (forks uint8) {
	if flags&truncateHeap != 0 {
		forks |= 1 << wal.MainFork
	}
	if flags&truncateVM != 0 {
		forks |= 1 << wal.VisibilityMapFork
	}
	if flags&truncateFSM != 0 {
		forks |= 1 << wal.FSMFork
	}
	return forks
}

func appendDatabase(dst []change, op uint8, v wal.Version, main []byte) []change {
	if len(main) < 8 {
		return dst
	}
	// db_id comes first in all of them, then the tablespace or their number.
	db, second := wal.OID(le.Uint32(main)), le.Uint32(main[4:])
	made := change{rel: wal.RelFileLocator{Spc: wal.OID(second), DB: db}, forks: allForks}
	switch {
	case op == dbaseCreateFileCopy:
		// xl_dbase_create_file_copy_rec (xl_dbase_create_rec before PG15): db_id,
		// tablespace_id, src_db_id, src_tablespace_id
		made.kind = databaseCopied
		if len(main) >= 16 {
			made.from = database{db: wal.OID(le.Uint32(main[8:])), spc: wal.OID(le.Uint32(main[12:]))}
		}
	case op == dbaseCreateWALLog && v >= wal.PG15:
		made.kind = databaseCreated
	case op == dbaseDrop && v >= wal.PG15, op == dbaseDrop14 && v < wal.PG15:
		for i := uint32(0); i < second && len(main) >= 12+4*int(i); i++ {
			spc := wal.OID(le.Uint32(main[8+4*i:]))
			dst = append(dst, change{rel: wal.RelFileLocator{Spc: spc, DB: db}, kind: databaseDropped, forks: allForks})
		}
		return dst
	default:
		return dst
	}
	return append(dst, made)
}

// locator reads a RelFileLocator (RelFileNode before PG16).
func locator(b []byte) wal.RelFileLocator {
	return wal.RelFileLocator{Spc: wal.OID(le.Uint32(b)), DB: wal.OID(le.Uint32(b[4:])), Rel: wal.OID(le.Uint32(b[8:]))}
}

// Bits of xinfo (access/xact.h).
const (
	xinfoHasDBInfo   = 1 << 0 // XACT_XINFO_HAS_DBINFO
	xinfoHasSubxacts = 1 << 1 // XACT_XINFO_HAS_SUBXACTS
	xinfoHasRels     = 1 << 2 // XACT_XINFO_HAS_RELFILELOCATORS
)

// dropScanner finds the relations that a commit or abort drops, in main data
// that may come in pieces (xl_xact_commit, xl_xact_abort and what follows them,
// alike in all versions up to the relations):
//
//	xact_time i64 | xinfo u32 | dbId, tsId u32 | nsubxacts i32, u32 each | nrels i32, 12 bytes each | …
//
// Each part but the first is there only if xl_info and xinfo say so.
type dropScanner struct {
	step  scanStep
	xinfo uint32
	skip  uint64 // bytes to pass over before the step
	left  uint32 // relations still to come
	buf   [12]byte
	n     int // bytes in buf
}

type scanStep uint8

const (
	scanDone scanStep = iota
	scanXinfo
	scanSubxacts
	scanRelCount
	scanRel
)

// newDropScanner scans a Transaction record of this xl_info.
func newDropScanner(info uint8) dropScanner {
	switch info & xactOpMask {
	case xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared:
		if info&xactHasInfo != 0 {
			return dropScanner{step: scanXinfo, skip: 8}
		}
	}
	return dropScanner{}
}

// feed takes the next piece of main data and appends the relations that it
// completes.
func (s *dropScanner) feed(dst []change, p []byte) []change {
	for s.step != scanDone {
		if n := min(s.skip, uint64(len(p))); n > 0 {
			s.skip -= n
			p = p[n:]
		}
		want := 4
		if s.step == scanRel {
			want = 12
		}
		n := copy(s.buf[s.n:want], p)
		s.n += n
		p = p[n:]
		if s.n < want {
			return dst
		}
		s.n = 0
		dst = s.take(dst)
	}
	return dst
}

// take acts on the field in buf.
func (s *dropScanner) take(dst []change) []change {
	v := le.Uint32(s.buf[:])
	switch s.step {
	case scanXinfo:
		s.xinfo = v
		if v&xinfoHasDBInfo != 0 {
			s.skip = 8
		}
		s.step = s.afterSubxacts()
		if v&xinfoHasSubxacts != 0 {
			s.step = scanSubxacts
		}
	case scanSubxacts:
		s.skip = 4 * uint64(v)
		s.step = s.afterSubxacts()
	case scanRelCount:
		s.left = v
		s.step = scanRel
		if v == 0 {
			s.step = scanDone
		}
	case scanRel:
		dst = append(dst, change{rel: locator(s.buf[:]), kind: relationDropped, forks: allForks})
		if s.left--; s.left == 0 {
			s.step = scanDone
		}
	}
	return dst
}

func (s *dropScanner) afterSubxacts() scanStep {
	if s.xinfo&xinfoHasRels != 0 {
		return scanRelCount
	}
	return scanDone
}
