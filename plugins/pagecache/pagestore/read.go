package pagestore

import (
	"context"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// Answer is a page as of an LSN.
type Answer struct {
	At      wal.LSN // all records that end at or before it count
	Page    []byte  // wal.BlockSize bytes
	Base    Base
	LastLSN wal.LSN // end of the last record that changed the page
	Records int     // how many records made it, that of the base included
}

// ReadPage reads a page as all records that end at or before lsn have left it,
// at LSN 0 as of now. It does not wait: an lsn that is not reached yet is an
// error ([Store.Wait]).
//
// The page is made as recovery makes it: from its newest base at or before lsn,
// by the redo of every record after that, one at a time, so that a read needs no
// more memory for a long history. It has what WAL carries, and so no hint bits
// that were never logged, and a checksum only from its image (package redo).
//
// A page without a base, because the store began after the page's last image, is
// [ErrNoBase]. A page that no record touched is [ErrNotFound], also where the
// relation has it, extended and never logged, and all zero: how long a relation's
// file is, WAL does not say. So is a page that the relation had lost by then, to
// a truncation or a drop. A record that does not fit its page is a [*wal.Error].
func (s *Store) ReadPage(ctx context.Context, id PageID, lsn wal.LSN) (*Answer, error) {
	images, _ := s.images.Get().(*wal.Images)
	if images == nil {
		images = new(wal.Images)
	}
	defer s.images.Put(images)
	a := &Answer{Page: make([]byte, wal.BlockSize)}
	r := replay{id: id, page: a.Page, images: images}
	at, err := s.EachVersion(ctx, id, lsn, func(base Base, rec *wal.Record) error {
		if base == NoBase {
			return s.noBase(id, rec)
		}
		a.Base, a.LastLSN = base, rec.EndLSN
		a.Records++
		return r.apply(rec)
	})
	if err != nil {
		return nil, err
	}
	a.At = at
	return a, nil
}

func (s *Store) noBase(id PageID, first *wal.Record) error {
	return fmt.Errorf("%w: the first record that is held of %s, %s %s from %s to %s, changes what the page cache, which begins at %s, does not hold; "+
		"the page's first change after a checkpoint brings an image",
		ErrNoBase, id, first.RmgrID, first.Operation(), first.StartLSN, first.EndLSN, s.visible.state().Horizon)
}

// replay does records to one page.
type replay struct {
	id      PageID
	page    []byte
	images  *wal.Images
	implied []redo.ImpliedBlock
}

// apply does to the page what the record does to it, by each reference to it and
// without one.
func (r *replay) apply(rec *wal.Record) error {
	// Recovery would pass over such a record. Here nothing on the page can come
	// from a later record than the last one.
	if at := pageLSN(r.page); at >= rec.EndLSN {
		return wal.Errorf(rec.StartLSN, "could not redo %s %s at %s, which ends at %s, on %s: the page has LSN %s already",
			rec.RmgrID, rec.Operation(), rec.StartLSN, rec.EndLSN, r.id, at)
	}
	changed := false
	for i := range rec.Blocks {
		if b := &rec.Blocks[i]; r.id == (PageID{b.Rel, b.Fork, b.Block}) {
			if err := redo.Apply(r.page, rec, i, r.images); err != nil {
				return err
			}
			changed = true
		}
	}
	r.implied = redo.Implied(rec, r.implied[:0])
	for _, b := range r.implied {
		if r.id == (PageID{b.Rel, b.Fork, b.Block}) {
			if err := redo.ApplyImplied(r.page, rec, b); err != nil {
				return err
			}
			changed = true
		}
	}
	if !changed {
		return fmt.Errorf("%w: the index says that %s %s at %s changes %s, and the record does not; make the cache anew from an empty directory",
			ErrDamaged, rec.RmgrID, rec.Operation(), rec.StartLSN, r.id)
	}
	return nil
}

// pageLSN is pd_lsn (storage/bufpage.h): xlogid u32, xrecoff u32.
func pageLSN(page []byte) wal.LSN {
	return wal.LSN(le.Uint32(page))<<32 | wal.LSN(le.Uint32(page[4:]))
}
