package tablerecover

import (
	"context"
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// place says where a row lies.
type place struct {
	rel   wal.RelFileLocator
	block wal.BlockNumber
	item  int
}

func (p place) String() string {
	return fmt.Sprintf("the row at (%d,%d) of relation %s", p.block, p.item, p.rel)
}

// scan calls f for every row of a heap that the snapshot sees, in their order on
// disk, and answers how many pages it has read. A tuple is borrowed until f returns.
func (s *snapshot) scan(ctx context.Context, rel wal.RelFileLocator, f func(at place, tup []byte) error) (wal.BlockNumber, error) {
	blocks, err := s.src.Blocks(ctx, rel, wal.MainFork)
	if err != nil {
		return 0, fmt.Errorf("how many blocks relation %s has: %w", rel, err)
	}
	page := make([]byte, wal.BlockSize)
	for block := range blocks {
		p, err := readPage(ctx, s.src, rel, block)
		if err != nil {
			return block, err
		}
		copy(page, p) // whoever looks at a row may read other pages
		isNew, err := checkPage(page)
		if err != nil {
			return block, fmt.Errorf("block %d of relation %s: %w", block, rel, err)
		}
		if isNew {
			continue
		}
		if err := s.scanPage(ctx, place{rel: rel, block: block}, page, f); err != nil {
			return block, err
		}
	}
	return blocks, nil
}

func (s *snapshot) scanPage(ctx context.Context, at place, page []byte, f func(at place, tup []byte) error) error {
	for n := 1; n <= items(page); n++ {
		at.item = n
		tup, err := item(page, n)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if tup == nil {
			continue
		}
		seen, err := s.visible(ctx, tup)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if !seen {
			continue
		}
		if err := f(at, tup); err != nil {
			return err
		}
	}
	return nil
}
