package redo

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// change is what one record is to do to one page.
type change struct {
	page *page
	rec  *wal.Record
	ref  *wal.BlockRef // the block reference by which the record names the page
	main cursor        // main data (XLogRecGetData)
	data cursor        // block data of ref (XLogRecGetBlockData), empty without

	// untouched is to be set where the record refers to the page and leaves it
	// as it is, pd_lsn too.
	untouched bool
}

// redoFunc does the record's change to the page. Where the record initialises
// the page ([wal.BlockRef.WillInit]), the page is all zero before; else
// page.check has been passed, unless the page is new. What it leaves behind
// with an error is undone.
type redoFunc func(c *change) error

// err is errShort if main or block data had fewer bytes than were read.
func (c *change) err() error {
	if c.main.short || c.data.short {
		return errShort
	}
	return nil
}

// block is the block reference with the id, nil without one: ids may have gaps.
func (c *change) block(id uint8) *wal.BlockRef { return block(c.rec, id) }

func block(rec *wal.Record, id uint8) *wal.BlockRef {
	for i := range rec.Blocks {
		if rec.Blocks[i].ID == id {
			return &rec.Blocks[i]
		}
	}
	return nil
}

// Apply does to the page, of [wal.BlockSize] bytes, what rec does to it by its
// block reference rec.Blocks[i]: the page becomes the image that redo applies,
// where there is one; it is made anew where the record initialises it; else it
// is changed. pd_lsn becomes rec.EndLSN, unless the record leaves the page as it
// is. Whether the record is in the page already, the caller knows: the page is
// as it was before rec.
//
// The record is a whole one ([wal.Record.Whole]). An error is an [*wal.Error] at
// the record's StartLSN, and then the page is as it was.
func Apply(page []byte, rec *wal.Record, i int, images *wal.Images) error {
	if len(page) != pageSize {
		return ApplyScratch(page, rec, i, images)
	}
	before := [pageSize]byte(page)
	err := ApplyScratch(page, rec, i, images)
	if err != nil {
		copy(page, before[:])
	}
	return err
}

// ApplyScratch is [Apply] for who has no use for the page after an error: what
// it holds then means nothing. It saves the copy.
func ApplyScratch(page []byte, rec *wal.Record, i int, images *wal.Images) error {
	var c change
	return c.do(page, rec, i, images)
}

// Redoer is [ApplyScratch] for many changes: it keeps what one needs for the next,
// and allocates nothing for most. The zero value is ready. It serves one goroutine
// at a time.
type Redoer struct {
	change change
	images wal.Images
}

// Apply is [ApplyScratch].
func (r *Redoer) Apply(page []byte, rec *wal.Record, i int) error {
	return r.change.do(page, rec, i, &r.images)
}

// do is ApplyScratch.
func (c *change) do(page []byte, rec *wal.Record, i int, images *wal.Images) error {
	p, err := target(page, rec)
	if err != nil {
		return err
	}
	if i < 0 || i >= len(rec.Blocks) {
		return wal.Errorf(rec.StartLSN, "could not redo %s %s at %s: no block reference %d among %d",
			rec.RmgrID, rec.Operation(), rec.StartLSN, i, len(rec.Blocks))
	}
	ref := &rec.Blocks[i]
	if ref.HasImage() && ref.ApplyImage() {
		return restore(p, rec, ref, images)
	}
	*c = change{page: p, rec: rec, ref: ref,
		main: cursor{buf: rec.MainData()}, data: cursor{buf: rec.BlockData(ref)}}
	err = c.apply()
	*c = change{}
	if err != nil {
		return wal.Errorf(rec.StartLSN, "could not redo %s %s at %s, relation %s, fork %s, block %d: %v",
			rec.RmgrID, rec.Operation(), rec.StartLSN, ref.Rel, ref.Fork, ref.Block, err)
	}
	return nil
}

// restore makes the page the image.
func restore(p *page, rec *wal.Record, ref *wal.BlockRef, images *wal.Images) error {
	if err := images.Restore(p[:], rec, ref); err != nil {
		return err
	}
	if !p.isNew() {
		p.setLSN(rec.EndLSN)
	}
	return gistRestored(p, rec, ref)
}

// target is the page as one, if it and the record are whole.
func target(b []byte, rec *wal.Record) (*page, error) {
	if len(b) != pageSize {
		return nil, wal.Errorf(rec.StartLSN, "could not redo record at %s on %d bytes, want %d", rec.StartLSN, len(b), pageSize)
	}
	if !rec.Whole() {
		return nil, wal.Errorf(rec.StartLSN, "could not redo record at %s of which only a part is given", rec.StartLSN)
	}
	return (*page)(b), nil
}

// apply does the record's change to the page that ref names.
func (c *change) apply() error {
	p, rec, ref := c.page, c.rec, c.ref
	redo := find(rec)
	if redo == nil {
		return errors.New("nothing is known of such a record that changes a page")
	}
	switch {
	case ref.WillInit():
		clear(p[:])
	case p.isNew() && ref.Fork != wal.VisibilityMapFork && rec.RmgrID != wal.RmgrGeneric:
		return errors.New("the page was never initialised")
	default:
		if err := p.check(); err != nil && !p.isNew() {
			return err
		}
	}
	if err := redo(c); err != nil {
		return err
	}
	if c.untouched {
		return nil
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("it would leave behind %w", err)
	}
	p.setLSN(rec.EndLSN)
	return nil
}
