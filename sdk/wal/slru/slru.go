package slru

import (
	"errors"

	"github.com/walplex/walplex/sdk/wal"
)

// Operations of CLOG, CommitTs and MultiXact (access/clog.h, access/commit_ts.h,
// access/multixact.h), and one of XLOG (catalog/pg_control.h).
const (
	infoMask = 0xF0 // ~XLR_INFO_MASK

	clogZeroPage     = 0x00 // CLOG_ZEROPAGE
	clogTruncate     = 0x10 // CLOG_TRUNCATE
	commitTsZeroPage = 0x00 // COMMIT_TS_ZEROPAGE
	commitTsTruncate = 0x10 // COMMIT_TS_TRUNCATE

	multiXactZeroOffPage = 0x00 // XLOG_MULTIXACT_ZERO_OFF_PAGE
	multiXactZeroMemPage = 0x10 // XLOG_MULTIXACT_ZERO_MEM_PAGE
	multiXactCreateID    = 0x20 // XLOG_MULTIXACT_CREATE_ID
	multiXactTruncateID  = 0x30 // XLOG_MULTIXACT_TRUNCATE_ID
)

// Pages appends to dst the pages that rec changes, each once: see [Tree.Pages] for an
// exception that no server makes. One that is too short changes none.
// The record is a whole one ([wal.Record.Whole]); for one in fragments there is Tree,
// and for other resource managers' records, which change none, there are none.
func Pages(rec *wal.Record, dst []Page) []Page {
	switch rec.RmgrID {
	case wal.RmgrTransaction:
		if op := rec.Info & (xactOpMask | xactHasInfo); op == xactCommit || op == xactAbort {
			return plainPages(rec, dst) // most of them: no need for a Tree
		}
		if t, ok := NewTree(rec); ok {
			return t.Pages(dst, rec.MainData())
		}
	case wal.RmgrMultiXact:
		if rec.Info&infoMask == multiXactCreateID {
			if m, err := readMultiXact(rec); err == nil {
				return m.pages(dst)
			}
			return dst
		}
		fallthrough
	case wal.RmgrCLOG, wal.RmgrCommitTs:
		if p, ok := zeroed(rec); ok {
			return append(dst, p)
		}
	}
	return dst
}

// plainPages are the pages of an end of a transaction that has only a time.
func plainPages(rec *wal.Record, dst []Page) []Page {
	if rec.XID == 0 || rec.MainDataLen < 8 {
		return dst
	}
	dst = append(dst, Page{Kind: Xact, Number: XactPage(rec.XID)})
	if rec.Info&xactOpMask == xactCommit && rec.XID >= firstNormalXID {
		dst = append(dst, Page{Kind: CommitTs, Number: CommitPage(rec.XID), Existing: true})
	}
	return dst
}

// zeroed is the page that a record makes.
func zeroed(rec *wal.Record) (p Page, ok bool) {
	switch op := rec.Info & infoMask; {
	case rec.RmgrID == wal.RmgrCLOG && op == clogZeroPage:
		p.Kind = Xact
	case rec.RmgrID == wal.RmgrCommitTs && op == commitTsZeroPage:
		p.Kind = CommitTs
	case rec.RmgrID == wal.RmgrMultiXact && op == multiXactZeroOffPage:
		p.Kind = MultiXactOffsets
	case rec.RmgrID == wal.RmgrMultiXact && op == multiXactZeroMemPage:
		p.Kind = MultiXactMembers
	default:
		return Page{}, false
	}
	c := cursor{buf: rec.MainData()}
	p.Number, p.Init = c.page(rec.Version, p.Kind), true
	return p, !c.short
}

// Apply does to the page, of [wal.BlockSize] bytes, what rec does to the page p, of
// which only Kind and Number matter: one that Pages said, or [TrackingBegins]. Doing
// it again changes nothing.
//
// The record is a whole one. An error is an [*wal.Error] at the record's StartLSN,
// and then the page is as it was.
func Apply(page []byte, rec *wal.Record, p Page) error {
	if len(page) != wal.BlockSize {
		return wal.Errorf(rec.StartLSN, "could not redo record at %s on %d bytes, want %d", rec.StartLSN, len(page), wal.BlockSize)
	}
	if !rec.Whole() {
		return wal.Errorf(rec.StartLSN, "could not redo record at %s of which only a part is given", rec.StartLSN)
	}
	if t, ok := NewTree(rec); ok {
		return t.apply(page, p, rec)
	}
	if err := apply(page, rec, p); err != nil {
		return failed(rec, p, err)
	}
	return nil
}

func failed(rec *wal.Record, p Page, err error) error {
	return wal.Errorf(rec.StartLSN, "could not redo %s %s at %s on %s: %v", rec.RmgrID, rec.Operation(), rec.StartLSN, p, err)
}

var errNoChange = errors.New("the record does not change the page")

// apply is Apply for all but ends of transactions.
func apply(page []byte, rec *wal.Record, p Page) error {
	if rec.RmgrID == wal.RmgrMultiXact && rec.Info&infoMask == multiXactCreateID {
		m, err := readMultiXact(rec)
		if err != nil {
			return err
		}
		return m.apply(page, p)
	}
	made, ok := zeroed(rec)
	if on, changes, told := tracking(rec); told && changes && on && p.Kind == CommitTs {
		made, ok = p, true
	}
	if !ok || made.Kind != p.Kind || made.Number != p.Number {
		return errNoChange
	}
	clear(page)
	return nil
}

// apply goes through the record's main data twice: before it is known to be whole,
// nothing is changed.
func (t *Tree) apply(page []byte, p Page, rec *wal.Record) error {
	main := rec.MainData()
	t.Skim(main)
	if err := t.Again(); err != nil {
		return err
	}
	if !t.Apply(page, p, main) {
		return failed(rec, p, errNoChange)
	}
	return nil
}
