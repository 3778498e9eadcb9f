package tablerecover

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// Limits of reading ahead.
const (
	aheadPages     = 64 // pages of a relation that is read in order, at a time
	aheadRelations = 4  // relations that are read in order at the same time
)

// Sink is a [Source] over a running page_cache sink.
type Sink struct {
	client *pageclient.Client
	at     pageclient.AsOf
	blocks map[wal.RelFileLocator]wal.BlockNumber
	ahead  map[wal.RelFileLocator]*chunk
}

// chunk is what was read ahead of a relation.
type chunk struct {
	first wal.BlockNumber
	pages []byte
}

// NewSink reads through client as of lsn, which the sink has to have reached.
func NewSink(client *pageclient.Client, lsn wal.LSN, wait time.Duration) *Sink {
	return &Sink{client, pageclient.AsOf{LSN: lsn, Wait: wait}, map[wal.RelFileLocator]wal.BlockNumber{}, map[wal.RelFileLocator]*chunk{}}
}

// Page reads a page; where pages of a relation's main fork are asked for in order,
// it reads some at a time.
func (s *Sink) Page(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber, block wal.BlockNumber) ([]byte, error) {
	if fork != wal.MainFork {
		return s.single(ctx, rel, fork, block)
	}
	c := s.ahead[rel]
	if c != nil {
		if p := c.page(block); p != nil {
			return p, nil
		}
	}
	if block != 0 && (c == nil || block != c.first+wal.BlockNumber(len(c.pages)/wal.BlockSize)) {
		return s.single(ctx, rel, fork, block)
	}
	if c == nil {
		if len(s.ahead) >= aheadRelations {
			clear(s.ahead)
		}
		c = &chunk{}
		s.ahead[rel] = c
	}
	if err := s.fill(ctx, c, rel, block); err != nil {
		delete(s.ahead, rel)
		return nil, err
	}
	if p := c.page(block); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("the sink answered no page")
}

func (c *chunk) page(block wal.BlockNumber) []byte {
	if block < c.first || uint64(block-c.first) >= uint64(len(c.pages)/wal.BlockSize) {
		return nil
	}
	return c.pages[int(block-c.first)*wal.BlockSize:][:wal.BlockSize]
}

// fill reads the next pages of a relation. Behind one that cannot be had none is
// kept: whoever asks for it gets the sink's words.
func (s *Sink) fill(ctx context.Context, c *chunk, rel wal.RelFileLocator, first wal.BlockNumber) error {
	blocks, err := s.Blocks(ctx, rel, wal.MainFork)
	if err != nil {
		return err
	}
	if first >= blocks {
		return fmt.Errorf("the relation has %d blocks", blocks)
	}
	c.first, c.pages = first, c.pages[:0]
	var fault error
	err = s.client.Range(ctx, pageclient.PageName{Rel: rel, Block: first}, uint32(min(blocks-first, aheadPages)), s.at, func(part *pagepb.GetPagesResponse) error {
		if fault != nil {
			return nil
		}
		pages := part.Pages
		if len(part.Faults) > 0 {
			fault = fmt.Errorf("%s", part.Faults[0].Reason)
			pages = pages[:min(int(part.Faults[0].Index)*wal.BlockSize, len(pages))]
		}
		c.pages = append(c.pages, pages...)
		return nil
	})
	if err == nil && len(c.pages) == 0 {
		err = fault
	}
	return err
}

func (s *Sink) single(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber, block wal.BlockNumber) ([]byte, error) {
	res, err := s.client.Page(ctx, pageclient.PageRequest{Rel: rel, Fork: fork, Block: block, LSN: s.at.LSN, Wait: s.at.Wait})
	return res.GetImage().GetPage(), err
}

// Blocks is how many pages a fork has.
func (s *Sink) Blocks(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber) (wal.BlockNumber, error) {
	if n, ok := s.blocks[rel]; ok && fork == wal.MainFork {
		return n, nil
	}
	res, err := s.client.RelSize(ctx, rel, fork, s.at)
	if err != nil {
		return 0, err
	}
	n := wal.BlockNumber(res.GetBlocks())
	if fork == wal.MainFork {
		s.blocks[rel] = n
	}
	return n, nil
}

// SLRUPage reads a page of transactions' states.
func (s *Sink) SLRUPage(ctx context.Context, kind SLRU, page uint32) ([]byte, error) {
	var which pagepb.SLRU
	switch kind {
	case Xact:
		which = pagepb.SLRU_SLRU_XACT
	case MultiXactOffsets:
		which = pagepb.SLRU_SLRU_MULTIXACT_OFFSETS
	case MultiXactMembers:
		which = pagepb.SLRU_SLRU_MULTIXACT_MEMBERS
	}
	res, err := s.client.SLRUPage(ctx, which, page, s.at)
	if pageclient.Code(err) == codes.NotFound && !pageclient.IsNotKept(err) {
		err = fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return res.GetImage().GetPage(), err
}

// RelMap reads a relation map.
func (s *Sink) RelMap(ctx context.Context, spc, db wal.OID) ([]byte, error) {
	res, err := s.client.RelMap(ctx, spc, db, s.at)
	return res.GetFile(), err
}
