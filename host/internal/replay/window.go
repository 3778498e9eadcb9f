package replay

import (
	"github.com/walplex/walplex/sdk/wal"
)

// Sizes of the window.
const (
	chunkSize = 64      // consecutive pages whose slots stand together
	blockSize = 1 << 18 // changes in a block of the log

	slotBytes, changeBytes, chunkBytes = 24, 16, chunkSize*4 + 8 // what each takes of the memory

	// maxSpan is how much WAL a window covers at most, in bytes: what a packed
	// change can name.
	maxSpan = 1 << 32
)

// none is no slot.
const none = ^uint32(0)

// packed is one change: of which page (slot), by which record (where it begins in
// the window), by which of its references.
//
//	63        35 34      29 28              0
//	+-----------+----------+-----------------+
//	| slot      | part     | offset / 8      |
//	+-----------+----------+-----------------+
type packed uint64

// implied is the part of a change that the record implies: the first one of
// redo.Implied; the one after it is the second. Those below are indexes of
// Record.Blocks.
const implied = 40

const maxSlots = 1 << 29

func pack(slot uint32, part int, offset uint64) packed {
	return packed(uint64(slot)<<35 | uint64(part)<<29 | offset/8)
}

func (p packed) slot() uint32    { return uint32(p >> 35) }
func (p packed) part() int       { return int(p >> 29 & 63) }
func (p packed) offset() wal.LSN { return wal.LSN(p&(1<<29-1)) * 8 }

// slot is a page that changes in the window.
type slot struct {
	first uint32 // the first change in the log that counts
	count uint32 // changes that count
	next  uint32 // where the next one goes when they are sorted
	anew  bool   // the first one that counts does not need the page as it was
}

// chunk are the slots of chunkSize consecutive pages of a fork; none where a page
// has none.
type chunk [chunkSize]uint32

// window is the part of the WAL whose changes wait to be done.
type window struct {
	memory int     // bytes that it may take
	base   wal.LSN // changes' offsets count from here: a segment's start

	log    [][]packed // in the order of the WAL, blockSize in each
	n      uint32     // changes in the log
	sorted []packed   // by page
	slots  []slot
	chunks int
	forks  []*fork // that have slots
}

// full reports that the window takes the memory that it may.
func (w *window) full() bool {
	return int(w.n)*changeBytes+len(w.slots)*slotBytes+w.chunks*chunkBytes >= w.memory || len(w.slots) >= maxSlots-64
}

// lookup is the page's slot, or none.
func (f *fork) lookup(block wal.BlockNumber) uint32 {
	if i := int(block / chunkSize); i < len(f.table) && f.table[i] != nil {
		return f.table[i][block%chunkSize]
	}
	return none
}

// note enters a change of a page into the log. anew says that it does not need
// what the page was before, and then what was to be done to it before is nothing.
func (w *window) note(f *fork, block wal.BlockNumber, part int, offset uint64, anew bool) {
	n := f.lookup(block)
	if n == none {
		n = w.enter(f, block)
	}
	f.blocks = max(f.blocks, block+1)
	s := &w.slots[n]
	if anew || s.count == 0 {
		s.first, s.count, s.anew = w.n, 0, anew
	}
	s.count++
	i := int(w.n / blockSize)
	if i == len(w.log) {
		w.log = append(w.log, make([]packed, blockSize))
	}
	w.log[i][w.n%blockSize] = pack(n, part, offset)
	w.n++
}

// enter makes a slot.
func (w *window) enter(f *fork, block wal.BlockNumber) uint32 {
	if len(f.table) == 0 {
		w.forks = append(w.forks, f)
	}
	i := int(block / chunkSize)
	if i >= len(f.table) {
		f.table = append(f.table, make([]*chunk, i+1-len(f.table))...)
	}
	c := f.table[i]
	if c == nil {
		c = &chunk{}
		for k := range c {
			c[k] = none
		}
		f.table[i] = c
		w.chunks++
	}
	n := uint32(len(w.slots))
	c[block%chunkSize] = n
	w.slots = append(w.slots, slot{})
	return n
}

// discard forgets all changes of the fork's pages from a block on.
func (w *window) discard(f *fork, from wal.BlockNumber) {
	for i := int(from / chunkSize); i < len(f.table); i++ {
		if f.table[i] == nil {
			continue
		}
		for k, n := range f.table[i] {
			if n != none && wal.BlockNumber(i*chunkSize+k) >= from {
				w.slots[n] = slot{first: w.n}
			}
		}
	}
}

// sort puts the changes that count into the order of forks and blocks, those of
// a page in the order of the WAL.
func (w *window) sort() {
	total := uint32(0)
	for _, f := range w.forks {
		for _, c := range f.table {
			if c == nil {
				continue
			}
			for _, n := range c {
				if n != none {
					w.slots[n].next = total
					total += w.slots[n].count
				}
			}
		}
	}
	if cap(w.sorted) < int(total) {
		w.sorted = make([]packed, total)
	}
	w.sorted = w.sorted[:total]
	for i, block := range w.log {
		for k, p := range block[:min(blockSize, int(w.n)-i*blockSize)] {
			s := &w.slots[p.slot()]
			if s.count > 0 && uint32(i*blockSize+k) >= s.first {
				w.sorted[s.next] = p
				s.next++
			}
		}
	}
}

// changes are a slot's, after sort.
func (w *window) changes(s *slot) []packed { return w.sorted[s.next-s.count : s.next] }

// empty begins the next window, at the segment that starts at base.
func (w *window) empty(base wal.LSN) {
	for _, f := range w.forks {
		f.table = nil
	}
	w.forks, w.slots, w.n, w.chunks, w.base = w.forks[:0], w.slots[:0], 0, 0, base
}
