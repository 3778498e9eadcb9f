package pagestore

import (
	"errors"
	"io"

	"github.com/walplex/walplex/sdk/wal"
)

// Bits of xinfo behind the relations' (access/xact.h).
const (
	xinfoHasInvals       = 1 << 3 // XACT_XINFO_HAS_INVALS, of commits
	xinfoHasTwoPhase     = 1 << 4 // XACT_XINFO_HAS_TWOPHASE
	xinfoHasDroppedStats = 1 << 8 // XACT_XINFO_HAS_DROPPED_STATS, since PG15
)

// Sizes in bytes.
const (
	relationSize     = 12 // RelFileLocator (storage/relfilelocator.h)
	statsItemSize15  = 12 // xl_xact_stats_item (access/xact.h)
	statsItemSize18  = 16
	invalidationSize = 16 // SharedInvalidationMessage (storage/sinval.h)
)

// endsTransaction reports a commit or an abort.
func endsTransaction(rmgr wal.RmgrID, info uint8) bool {
	if rmgr != wal.RmgrTransaction {
		return false
	}
	switch info & xactOpMask {
	case xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared:
		return true
	}
	return false
}

// isAbort reports that what ends a transaction aborts it.
func isAbort(info uint8) bool {
	op := info & xactOpMask
	return op == xactAbort || op == xactAbortPrepared
}

// parseEnding reads a record that ends a transaction from its main data
// (xl_xact_commit, xl_xact_abort of access/xact.h, and what follows them as xinfo
// says), and calls sub with each subtransaction that ends with it:
//
//	xact_time i64 | xinfo u32 | dbId, tsId u32 | nsubxacts i32, u32 each | nrels i32, 12 bytes each |
//	nstats i32, 12 or 16 bytes each | nmsgs i32, 16 bytes each | xid u32 of the prepared transaction | …
func parseEnding(rec *wal.Record, main *pieces, sub func(xid uint32)) (Ending, error) {
	e := Ending{StartLSN: rec.StartLSN, EndLSN: rec.EndLSN, XID: uint32(rec.XID), Aborted: isAbort(rec.Info)}
	e.Time = int64(main.u64())
	if rec.Info&xactHasInfo == 0 {
		return e, main.error(rec)
	}
	xinfo := main.u32()
	if xinfo&xinfoHasDBInfo != 0 {
		main.skip(8)
	}
	if xinfo&xinfoHasSubxacts != 0 {
		for n := main.u32(); n > 0 && main.err == nil; n-- {
			if xid := main.u32(); main.err == nil {
				sub(xid)
			}
		}
	}
	if xinfo&xinfoHasTwoPhase == 0 {
		return e, main.error(rec)
	}
	if xinfo&xinfoHasRels != 0 {
		main.skip(relationSize * uint64(main.u32()))
	}
	if xinfo&xinfoHasDroppedStats != 0 && rec.Version >= wal.PG15 {
		size := uint64(statsItemSize15)
		if rec.Version >= wal.PG18 {
			size = statsItemSize18
		}
		main.skip(size * uint64(main.u32()))
	}
	if xinfo&xinfoHasInvals != 0 && !e.Aborted {
		main.skip(invalidationSize * uint64(main.u32()))
	}
	e.XID = main.u32()
	return e, main.error(rec)
}

// pieces reads numbers from bytes that can come in pieces. After an error it
// reads zeros.
type pieces struct {
	buf  []byte
	more func() ([]byte, error) // the next piece, io.EOF behind the last; nil: there is none
	err  error
}

func (p *pieces) u32() uint32 {
	var b [4]byte
	p.read(b[:])
	return le.Uint32(b[:])
}

func (p *pieces) u64() uint64 {
	var b [8]byte
	p.read(b[:])
	return le.Uint64(b[:])
}

func (p *pieces) read(b []byte) {
	for n := 0; p.fill(); {
		m := copy(b[n:], p.buf)
		p.buf = p.buf[m:]
		if n += m; n == len(b) {
			return
		}
	}
	clear(b)
}

func (p *pieces) skip(n uint64) {
	for n > 0 && p.fill() {
		m := min(n, uint64(len(p.buf)))
		p.buf = p.buf[m:]
		n -= m
	}
}

// fill sees to it that there is something in buf.
func (p *pieces) fill() bool {
	for len(p.buf) == 0 && p.err == nil {
		if p.more == nil {
			p.err = io.EOF
			break
		}
		p.buf, p.err = p.more()
	}
	return p.err == nil
}

// error is what went wrong with the record's main data.
func (p *pieces) error(rec *wal.Record) error {
	if errors.Is(p.err, io.EOF) {
		return wal.Errorf(rec.StartLSN, "the record at %s, %s %s, ends before it has told what it announces", rec.StartLSN, rec.RmgrID, rec.Operation())
	}
	return p.err
}

// ending reads the record at p, which ends a transaction, and whether it ends
// xid.
func (r *logReader) ending(p pointer, end wal.LSN, xid uint32, rec *wal.Record, space *[]byte) (e Ending, has bool, err error) {
	if err := r.recordOrFirst(p, end, rec, space); err != nil {
		return Ending{}, false, err
	}
	main := pieces{buf: rec.MainData()}
	if p.flags&flagFragments != 0 {
		main.more = func() ([]byte, error) { return r.nextFragment(&p, rec, space) }
	}
	e, err = parseEnding(rec, &main, func(sub uint32) { has = has || sub == xid })
	return e, has || e.XID == xid, err
}

// nextFragment reads the fragment behind the one that p leads to, which rec is,
// and answers its part of the main data.
func (r *logReader) nextFragment(p *pointer, rec *wal.Record, space *[]byte) ([]byte, error) {
	next := rec.FragmentOffset + uint32(len(rec.Data))
	if next >= rec.TotalLen {
		return nil, io.EOF
	}
	p.offset += entryHeader + uint32(len(rec.Data))
	e, err := r.fragment(*p, rec.EndLSN, space)
	if err != nil {
		return nil, err
	}
	if e.start != rec.StartLSN || e.length == 0 {
		return nil, r.damaged(*p, rec.EndLSN)
	}
	rec.FragmentOffset, rec.Data = next, (*space)[entryHeader:]
	return rec.MainData(), nil
}
