package redo

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// specialPage is a page with a special space of so many bytes, and three items.
func specialPage(t *testing.T, size int, special []byte) *page {
	t.Helper()
	p := new(page)
	p.init(size)
	for i := range 3 {
		if _, err := p.addItem([]byte{1, 2, 3, 4, 5, 6, 7, byte(i)}, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	copy(p[p.special():], special)
	return p
}

// What is masked makes no difference, what is not does: for each resource manager
// one byte after another is flipped, and those that show counted.
func TestMaskHides(t *testing.T) {
	leaf := func(at, size int, flags byte) []byte {
		s := make([]byte, size)
		s[at] = flags
		return s
	}
	heap := heapPage(t, "one", "two")
	for name, c := range map[string]struct {
		page   *page
		rmgr   wal.RmgrID
		fork   wal.ForkNumber
		hidden int // bytes of which no bit shows
	}{
		// All: 10 bytes of pd_lsn and pd_checksum. All but Sequence: 4 of pd_prune_xid.
		"sequence":      {specialPage(t, 8, nil), wal.RmgrSequence, 0, 10 + pageSize - 24 - 12 - 8 - 24},
		"spgist":        {specialPage(t, 8, nil), wal.RmgrSPGist, 0, 14 + pageSize - 24 - 12 - 8 - 24},
		"btree, leaf":   {specialPage(t, 16, leaf(12, 16, 1)), wal.RmgrBtree, 0, 14 + 2 + pageSize - 24 - 12 - 16 - 24},
		"btree, inner":  {specialPage(t, 16, nil), wal.RmgrBtree, 0, 14 + 2 + pageSize - 24 - 12 - 16 - 24},
		"hash, bucket":  {specialPage(t, 16, leaf(12, 16, 2)), wal.RmgrHash, 0, 14 + pageSize - 24 - 12 - 16 - 24},
		"gin":           {specialPage(t, 8, nil), wal.RmgrGin, 0, 14 + pageSize - 24 - 12 - 8 - 24},
		"gist, leaf":    {specialPage(t, 16, leaf(12, 16, 1)), wal.RmgrGist, 0, 14 + 8 + pageSize - 24 - 12 - 16 - 24},
		"brin, regular": {specialPage(t, 8, []byte{0, 0, 0, 0, 0, 0, 0x93, 0xF0}), wal.RmgrBRIN, 0, 14 + pageSize - 24 - 12 - 8 - 24},
		"brin, revmap":  {specialPage(t, 8, []byte{0, 0, 0, 0, 0, 0, 0x92, 0xF0}), wal.RmgrBRIN, 0, 14},
		"xlog":          {specialPage(t, 8, nil), wal.RmgrXLOG, 0, 14},
		"the map":       {heapPage(t), wal.RmgrHeap2, wal.VisibilityMapFork, 10},
		// Of two tuples of 27 bytes: t_cid, 5 bytes of padding, and of t_infomask
		// the second byte.
		"heap": {heap, wal.RmgrHeap, 0, 14 + pageSize - 24 - 8 - 64 + 2*(4+5+1)},
	} {
		masked := func(p page) page {
			Mask(p[:], c.rmgr, c.fork, 7)
			return p
		}
		want, hidden := masked(*c.page), 0
		for i := range c.page {
			shows := false
			for bit := range 8 {
				p := *c.page
				p[i] ^= 1 << bit
				if p.check() != nil || masked(p) != want {
					shows = true
				}
			}
			if !shows {
				hidden++
			}
		}
		if hidden != c.hidden {
			t.Errorf("%s: %d bytes are hidden, want %d", name, hidden, c.hidden)
		}
	}
}

// Pages that are deleted or unused are hidden whole.
func TestMaskWhole(t *testing.T) {
	gin, hash := make([]byte, 8), make([]byte, 16)
	gin[6] = 4
	for rmgr, p := range map[wal.RmgrID]*page{wal.RmgrGin: specialPage(t, 8, gin), wal.RmgrHash: specialPage(t, 16, hash)} {
		Mask(p[:], rmgr, wal.MainFork, 7)
		for i, b := range p[headerSize:] {
			if b != 0 {
				t.Fatalf("%s: byte %d is %x", rmgr, headerSize+i, b)
			}
		}
		if p.lower() != 0 || p.upper() != 0 {
			t.Errorf("%s: pd_lower %d, pd_upper %d", rmgr, p.lower(), p.upper())
		}
	}
}

// A speculative insertion is compared as if it were one.
func TestMaskSpeculative(t *testing.T) {
	a, b := heapPage(t, "one"), heapPage(t, "one")
	tup, err := b.heapTuple(1)
	if err != nil {
		t.Fatal(err)
	}
	tup.setCtid(12345, specTokenOffset)
	Mask(a[:], wal.RmgrHeap, wal.MainFork, 7)
	Mask(b[:], wal.RmgrHeap, wal.MainFork, 7)
	if *a != *b {
		t.Error("they differ")
	}
}

// A header out of order, and what is no page, are no reason to panic.
func TestMaskDamaged(t *testing.T) {
	Mask(make([]byte, 100), wal.RmgrHeap, wal.MainFork, 7)
	for rmgr := range wal.RmgrMaxBuiltin + 1 {
		for _, fill := range []byte{0, 1, 0x1F, 0x7F, 0xFF} {
			var p page
			for i := range p {
				p[i] = fill
			}
			Mask(p[:], rmgr, wal.MainFork, 7)
			p.init(0) // no special space, where an index wants one
			Mask(p[:], rmgr, wal.MainFork, 7)
		}
	}
}
