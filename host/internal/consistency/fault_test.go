package consistency

import (
	"errors"
	"fmt"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// fault is a mistake in redo: what one kind of record does to the page of one of
// its block references comes out wrong.
type fault struct {
	name  string
	rmgr  wal.RmgrID
	info  uint8 // high four bits of xl_info
	block uint8 // the block reference's id
	spoil spoil
}

// spoil makes of the page, as it is after the record, one that is wrong; before
// is the page as it was.
type spoil func(page, before []byte)

// skipped: nothing was done.
func skipped(page, before []byte) { copy(page, before) }

// kept: bytes of the page, n from an offset on, were left as they were.
func kept(at, n int) spoil {
	return func(page, before []byte) { copy(page[at:at+n], before[at:at+n]) }
}

// zero: bytes of the page, n from an offset on, were not set.
func zero(at, n int) spoil {
	return func(page, _ []byte) { clear(page[at : at+n]) }
}

// flipped: a flag is set that should not be, or is not.
func flipped(at int, bits byte) spoil {
	return func(page, _ []byte) { page[at] ^= bits }
}

// exchanged: the items that two line pointers name are in the other order.
func exchanged(n, m int) spoil {
	return func(page, _ []byte) {
		a, b := idBytes(page, n), idBytes(page, m)
		if a == nil || b == nil {
			return
		}
		x, y := le.Uint32(a), le.Uint32(b)
		le.PutUint32(a, y)
		le.PutUint32(b, x)
	}
}

// lastIDLost: there is one line pointer too few.
func lastIDLost(page, _ []byte) {
	if lower := le.Uint16(page[12:]); lower > 24 {
		le.PutUint16(page[12:], lower-4)
	}
}

// idBytes are line pointer n's four bytes, nil if there is none; a negative n
// counts from the last.
func idBytes(page []byte, n int) []byte {
	count := (int(le.Uint16(page[12:])) - 24) / 4
	if n < 0 {
		n += count + 1
	}
	if n < 1 || n > count {
		return nil
	}
	return page[24+(n-1)*4 : 24+n*4]
}

// itemBytes is item n, nil if there is none; a negative n counts from the last.
func itemBytes(page []byte, n int) []byte {
	b := idBytes(page, n)
	if b == nil {
		return nil
	}
	id := le.Uint32(b)
	off, length := int(id&0x7FFF), int(id>>17)
	if off+length > len(page) {
		return nil
	}
	return page[off : off+length]
}

// everyItem: what is done to each item.
func everyItem(change func(item []byte)) spoil {
	return func(page, _ []byte) {
		for n := 1; idBytes(page, n) != nil; n++ {
			change(itemBytes(page, n))
		}
	}
}

// redo is ours with the fault; seeded counts how often it was.
func (f *fault) redo(seeded *int) Redo {
	r := Ours()
	r.Apply = func(page []byte, rec *wal.Record, i int, images *wal.Images) error {
		ref := &rec.Blocks[i]
		before := [wal.BlockSize]byte(page)
		err := redo.Apply(page, rec, i, images)
		if err == nil && !ref.ApplyImage() && rec.RmgrID == f.rmgr && rec.Info&0xF0 == f.info && ref.ID == f.block {
			lsn := [8]byte(page)
			f.spoil(page, before[:])
			copy(page, lsn[:])
			*seeded++
		}
		return err
	}
	return r
}

// errCaught ends a check at the first page that differs.
var errCaught = errors.New("a page differs")

// samePages reports that records of both change the same pages.
func samePages(a, b wal.RmgrID) bool {
	heap := func(id wal.RmgrID) bool { return id == wal.RmgrHeap || id == wal.RmgrHeap2 }
	return a == b || heap(a) && heap(b)
}

// caught reports whether a check of the WAL finds a fault, by the records of its
// resource manager and the images that other records have of such pages.
func (f *fault) caught(w *WAL) (caught bool, seeded int, err error) {
	c := newChecker(w, f.redo(&seeded))
	err = w.Each(func(rec *wal.Record) error {
		if !samePages(rec.RmgrID, f.rmgr) && rec.RmgrID != wal.RmgrXLOG && rec.RmgrID != wal.RmgrStorage {
			return nil
		}
		if err := c.record(rec); err != nil {
			return err
		}
		if c.report.kind(rec).Failed > 0 {
			return errCaught
		}
		return nil
	})
	if errors.Is(err, errCaught) {
		return true, seeded, nil
	}
	return false, seeded, err
}

// seedFaults puts each fault into redo, and has the check of the WAL find it.
func seedFaults(t *testing.T, w *WAL, faults []fault) {
	for _, f := range faults {
		rec := wal.Record{RmgrID: f.rmgr, Info: f.info}
		t.Run(fmt.Sprintf("%s/%s", f.rmgr, f.name), func(t *testing.T) {
			caught, seeded, err := f.caught(w)
			switch {
			case err != nil:
				t.Fatal(err)
			case seeded == 0:
				t.Errorf("no %s changed block %d: there was nothing to find", rec.Operation(), f.block)
			case !caught:
				t.Errorf("%d pages were spoilt, block %d of %s, and no difference was found", seeded, f.block, rec.Operation())
			}
		})
	}
}
