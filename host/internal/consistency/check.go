package consistency

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// Redo is what is checked: redo.Apply and redo.ApplyImplied, or the like with a
// fault.
type Redo struct {
	Apply        func(page []byte, rec *wal.Record, i int, images *wal.Images) error
	ApplyImplied func(page []byte, rec *wal.Record, b redo.ImpliedBlock) error
}

// Ours is the redo of package redo.
func Ours() Redo { return Redo{Apply: redo.Apply, ApplyImplied: redo.ApplyImplied} }

// pageKey names a page.
type pageKey struct {
	rel   wal.RelFileLocator
	fork  wal.ForkNumber
	block wal.BlockNumber
}

type pageBytes [wal.BlockSize]byte

// checker keeps the pages as they are after the records so far.
type checker struct {
	wal     *WAL
	redo    Redo
	report  *Report
	pages   map[pageKey]*pageBytes
	images  wal.Images
	implied []redo.ImpliedBlock
}

// Check redoes all records and compares each page with the image that the record
// carries of it.
func Check(w *WAL, r Redo) (*Report, error) {
	c := newChecker(w, r)
	err := w.Each(c.record)
	return c.report, err
}

func newChecker(w *WAL, r Redo) *checker {
	return &checker{wal: w, redo: r, report: newReport(), pages: map[pageKey]*pageBytes{}}
}

// page is the page as it is now, nil if it is not known.
func (c *checker) page(key pageKey) (*pageBytes, error) {
	if page := c.pages[key]; page != nil {
		return page, nil
	}
	page, err := c.wal.load(key)
	if page != nil {
		c.pages[key] = page
	}
	return page, err
}

func (c *checker) record(rec *wal.Record) error {
	kind := c.report.kind(rec)
	kind.Records++
	for i := range rec.Blocks {
		if err := c.block(kind, rec, i); err != nil {
			return err
		}
	}
	c.truncate(rec)
	c.implied = redo.Implied(rec, c.implied[:0])
	for _, b := range c.implied {
		page, err := c.page(pageKey{b.Rel, b.Fork, b.Block})
		if err != nil {
			return err
		}
		if page == nil {
			continue
		}
		kind.Implied++
		if err := c.redo.ApplyImplied(page[:], rec, b); err != nil {
			kind.fail(rec, fmt.Sprintf("implied block %d of fork %s: %v", b.Block, b.Fork, err))
		}
	}
	return nil
}

// block redoes block reference i of the record, and compares.
func (c *checker) block(kind *Kind, rec *wal.Record, i int) error {
	ref := &rec.Blocks[i]
	kind.Blocks++
	key := pageKey{ref.Rel, ref.Fork, ref.Block}
	page, err := c.page(key)
	if err != nil {
		return err
	}
	known := page != nil
	if !known {
		page = new(pageBytes)
		c.pages[key] = page
	}
	if ref.ApplyImage() {
		kind.Restored++
		return c.redo.Apply(page[:], rec, i, &c.images)
	}
	var redone error
	if known || ref.WillInit() {
		redone = c.redo.Apply(page[:], rec, i, &c.images)
	}
	if !ref.HasImage() {
		if redone != nil {
			kind.fail(rec, redone.Error())
		}
		if !known && !ref.WillInit() {
			delete(c.pages, key)
		}
		return nil
	}
	var want pageBytes
	if err := c.images.Restore(want[:], rec, ref); err != nil {
		return err
	}
	switch {
	case !known && !ref.WillInit():
		kind.Adopted++
	case redone != nil:
		kind.fail(rec, redone.Error())
	default:
		kind.Checked++
		c.compare(kind, rec, ref, page, &want)
		return nil
	}
	*page = want
	return nil
}

// compare compares the page that was redone with the one that the server has,
// and takes the server's if they differ.
func (c *checker) compare(kind *Kind, rec *wal.Record, ref *wal.BlockRef, page, want *pageBytes) {
	got, masked := *page, *want
	redo.Mask(got[:], rec.RmgrID, ref.Fork, ref.Block)
	redo.Mask(masked[:], rec.RmgrID, ref.Fork, ref.Block)
	if got == masked {
		return
	}
	kind.fail(rec, fmt.Sprintf("relation %s, fork %s, block %d (id %d): %s",
		ref.Rel, ref.Fork, ref.Block, ref.ID, difference(&got, &masked)))
	*page = *want
}
