package replay

import (
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// maxRun is how many consecutive pages are read and written by one call: few
// enough to stay in a core's cache from the one to the other.
const maxRun = 32

// ahead is for how many changes the first bytes of their records are fetched at
// once, so that the waits for memory overlap.
const ahead = 16

// run are consecutive pages of a fork.
type run struct {
	fork    *fork
	block   wal.BlockNumber // the first one
	slots   []*slot
	memory  [maxRun * wal.BlockSize]byte
	changed [maxRun]bool
}

func (r *run) page(i int) []byte {
	return r.memory[i*wal.BlockSize : (i+1)*wal.BlockSize : (i+1)*wal.BlockSize]
}

// apply does all changes of the window, page by page, in the order of their
// blocks.
func (e *engine) apply() error {
	w := &e.window
	w.sort()
	e.done, e.fetched = 0, 0
	for _, f := range w.forks {
		for i, c := range f.table {
			if c == nil {
				continue
			}
			for k, n := range c {
				if n == none || w.slots[n].count == 0 {
					continue
				}
				if err := e.append(f, wal.BlockNumber(i*chunkSize+k), &w.slots[n]); err != nil {
					return err
				}
			}
		}
		if err := e.endRun(); err != nil {
			return err
		}
	}
	return nil
}

// append adds a page to the run, after doing the run that it does not continue.
func (e *engine) append(f *fork, block wal.BlockNumber, s *slot) error {
	r := &e.run
	if n := len(r.slots); n == maxRun || n > 0 && (block != r.block+wal.BlockNumber(n) || block%relfile.SegmentBlocks == 0) {
		if err := e.endRun(); err != nil {
			return err
		}
	}
	if len(r.slots) == 0 {
		r.fork, r.block = f, block
	}
	r.slots = append(r.slots, s)
	return nil
}

// endRun reads the run's pages, changes and writes them.
func (e *engine) endRun() error {
	r := &e.run
	if err := e.readRun(); err != nil {
		return err
	}
	for i, s := range r.slots {
		var err error
		if r.changed[i], err = e.changePage(r.fork, r.block+wal.BlockNumber(i), r.page(i), e.window.changes(s)); err != nil {
			return err
		}
	}
	for i := 0; i < len(r.slots); i++ {
		from := i
		for i < len(r.slots) && r.changed[i] {
			i++
		}
		if i == from {
			continue
		}
		if err := e.disk.write(r.fork, r.block+wal.BlockNumber(from), r.memory[from*wal.BlockSize:i*wal.BlockSize]); err != nil {
			return err
		}
	}
	r.slots = r.slots[:0]
	return nil
}

// readRun reads the pages that are not made anew.
func (e *engine) readRun() error {
	r := &e.run
	for i := 0; i < len(r.slots); i++ {
		from := i
		for i < len(r.slots) && !r.slots[i].anew {
			i++
		}
		if i == from {
			continue
		}
		if err := e.disk.readPages(r.fork, r.block+wal.BlockNumber(from), r.memory[from*wal.BlockSize:i*wal.BlockSize]); err != nil {
			return err
		}
	}
	return nil
}

// changePage does changes to a page, and reports whether any changed it.
func (e *engine) changePage(f *fork, block wal.BlockNumber, page []byte, changes []packed) (changed bool, _ error) {
	rec := &e.rec
	for _, p := range changes {
		if e.fetched == e.done {
			e.fetch()
		}
		e.done++
		rec.StartLSN = e.window.base + p.offset()
		rec.Data, rec.EndLSN = e.src.record(rec.StartLSN)
		if err := rec.Decode(rec.Data); err != nil {
			return changed, err
		}
		part := p.part()
		if part >= implied {
			e.implied = redo.Implied(rec, e.implied[:0])
			if err := redo.ApplyImplied(page, rec, e.implied[part-implied]); err != nil {
				return changed, err
			}
			changed = !isNew(page)
			continue
		}
		ref := &rec.Blocks[part]
		if ref.HasImage() && ref.ApplyImage() {
			e.result.Images++
		} else if !ref.WillInit() {
			switch {
			case isNew(page) && ref.Fork != wal.VisibilityMapFork:
				e.missing(f, block, rec.StartLSN)
				continue
			case pageLSN(page) >= rec.EndLSN:
				e.result.Passed++
				continue
			}
		}
		e.result.Changes++
		changed = true
		if err := e.redo.Apply(page, rec, part); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// fetch has the next records come from memory, all at the same time.
func (e *engine) fetch() {
	sorted := e.window.sorted
	to := min(e.fetched+ahead, len(sorted))
	for _, p := range sorted[e.fetched:to] {
		b := e.src.at(e.window.base + p.offset())
		e.touched += b[0]
		if len(b) > 64 {
			e.touched += b[64]
		}
	}
	e.fetched = to
}

// missing notes that a page was not there, for the record at lsn.
func (e *engine) missing(f *fork, block wal.BlockNumber, lsn wal.LSN) {
	id := pageID{f.id, block}
	if _, known := e.invalid[id]; !known {
		e.invalid[id] = lsn
	}
}

// isNew is PageIsNew.
func isNew(page []byte) bool { return page[14] == 0 && page[15] == 0 }

func pageLSN(page []byte) wal.LSN {
	return wal.LSN(uint64(le.Uint32(page))<<32 | uint64(le.Uint32(page[4:])))
}
