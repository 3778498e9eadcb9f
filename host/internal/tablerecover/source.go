package tablerecover

import (
	"context"
	"errors"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// SLRU is a log of transactions' states: a directory of pg_xact's kind.
type SLRU uint8

// The logs that visibility needs.
const (
	Xact             SLRU = 1 // pg_xact
	MultiXactOffsets SLRU = 2 // pg_multixact/offsets
	MultiXactMembers SLRU = 3 // pg_multixact/members
)

func (s SLRU) String() string {
	switch s {
	case Xact:
		return "pg_xact"
	case MultiXactOffsets:
		return "pg_multixact/offsets"
	case MultiXactMembers:
		return "pg_multixact/members"
	}
	return fmt.Sprintf("slru%d", uint8(s))
}

// ErrNotThere says, wrapped or not, that a page does not exist as of the LSN: of an
// SLRU, that nothing was written so far yet.
var ErrNotThere = errors.New("it does not exist")

// Source reads a cluster's files as of one LSN. It is used by one goroutine. What
// it answers is borrowed until the next call.
type Source interface {
	// Page reads a page of wal.BlockSize bytes, all zero where it was never filled.
	Page(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber, block wal.BlockNumber) ([]byte, error)
	// Blocks is how many pages a fork has.
	Blocks(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber) (wal.BlockNumber, error)
	// SLRUPage reads a page of transactions' states, wal.BlockSize bytes, or answers
	// an error that is ErrNotThere.
	SLRUPage(ctx context.Context, kind SLRU, page uint32) ([]byte, error)
	// RelMap reads pg_filenode.map of a database, or of the cluster with database 0.
	RelMap(ctx context.Context, spc, db wal.OID) ([]byte, error)
}

// cachedPages bounds how many pages of indexes and TOAST tables are kept.
const cachedPages = 512

// pageKey names a page of a main fork.
type pageKey struct {
	rel   wal.RelFileLocator
	block wal.BlockNumber
}

// pageCache keeps pages that are read again and again. It forgets all of them when
// it is full, which costs little: indexes' upper pages come back at once.
type pageCache struct {
	src   Source
	pages map[pageKey][]byte
}

func (c *pageCache) page(ctx context.Context, rel wal.RelFileLocator, block wal.BlockNumber) ([]byte, error) {
	key := pageKey{rel, block}
	if p := c.pages[key]; p != nil {
		return p, nil
	}
	p, err := readPage(ctx, c.src, rel, block)
	if err != nil {
		return nil, err
	}
	if len(c.pages) >= cachedPages || c.pages == nil {
		c.pages = make(map[pageKey][]byte, cachedPages)
	}
	c.pages[key] = append([]byte(nil), p...)
	return c.pages[key], nil
}

// readPage reads a page of a main fork.
func readPage(ctx context.Context, src Source, rel wal.RelFileLocator, block wal.BlockNumber) ([]byte, error) {
	p, err := src.Page(ctx, rel, wal.MainFork, block)
	if err != nil {
		return nil, fmt.Errorf("read block %d of relation %s: %w", block, rel, err)
	}
	if len(p) != wal.BlockSize {
		return nil, fmt.Errorf("block %d of relation %s has %d bytes, want %d", block, rel, len(p), wal.BlockSize)
	}
	return p, nil
}
