package waldump

import (
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// invalidBlock is InvalidBlockNumber (storage/block.h).
const invalidBlock = math.MaxUint32

// filter says which records are shown; the zero value shows all.
type filter struct {
	rmgrs  [math.MaxUint8 + 1]bool
	byRmgr bool

	xid   wal.XID
	byXID bool

	rel      wal.RelFileLocator
	block    wal.BlockNumber
	fork     wal.ForkNumber
	byRel    bool
	byBlock  bool
	byFork   bool
	fullPage bool
}

// shows reports whether the record is one to show.
func (f *filter) shows(r *wal.Record) bool {
	return f.showsHeader(r.RmgrID, r.XID) &&
		(!f.byRel && !f.byFork || f.matchesBlock(r)) &&
		(!f.fullPage || hasImage(r))
}

// showsHeader is shows as far as the record's header tells: all of it unless
// byBlocks.
func (f *filter) showsHeader(rmgr wal.RmgrID, xid wal.XID) bool {
	return (!f.byRmgr || f.rmgrs[rmgr]) && (!f.byXID || f.xid == xid)
}

// byBlocks reports whether the record's block references have a say.
func (f *filter) byBlocks() bool { return f.byRel || f.byFork || f.fullPage }

// matchesBlock reports whether one block reference is of that relation, block
// and fork.
func (f *filter) matchesBlock(r *wal.Record) bool {
	for i := range r.Blocks {
		b := &r.Blocks[i]
		if (!f.byFork || b.Fork == f.fork) && (!f.byRel || b.Rel == f.rel) && (!f.byBlock || b.Block == f.block) {
			return true
		}
	}
	return false
}

func hasImage(r *wal.Record) bool {
	for i := range r.Blocks {
		if r.Blocks[i].HasImage() {
			return true
		}
	}
	return false
}

// forkNamed is the fork of that name (forkname_to_number).
func forkNamed(name string) (wal.ForkNumber, bool) {
	for f := wal.MainFork; f <= wal.InitFork; f++ {
		if f.String() == name {
			return f, true
		}
	}
	return 0, false
}
