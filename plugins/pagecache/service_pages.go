package pagecache

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// Limits of GetPages.
const (
	// maxPages is how many pages a request can name.
	maxPages = 4096
	// chunkPages is how many pages go in one answer: with what is around them, just
	// below the 1 MiB of gRPC's largest pooled buffer.
	chunkPages = 127
	// readAhead is how many answers are made while one is sent.
	readAhead = 2
	// maxBatches is how many calls read and send pages at once, over all connections;
	// others wait. A client that does not take its answers holds some 5 MiB.
	maxBatches = 32
)

// GetPages waits for the LSN and reads the pages.
func (s *service) GetPages(req *pagepb.GetPagesRequest, stream pagepb.Pages_GetPagesServer) error {
	ctx := stream.Context()
	ids, n, err := s.named(req)
	if err != nil {
		return err
	}
	sent := false
	return s.read(ctx, req, func(at wal.LSN) error {
		if sent {
			return status.Errorf(codes.Aborted, "the server was promoted before all pages as of %s were read; try again", at)
		}
		count := n // of this attempt
		if n == 0 && len(req.Pages) == 0 {
			blocks, _, err := s.store.RelSize(ctx, ids(0).Rel, ids(0).Fork, at)
			if err != nil {
				return err
			}
			count = max(0, int(blocks)-int(req.FirstBlock))
		}
		select {
		case s.batches <- struct{}{}:
			defer func() { <-s.batches }()
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.sendPages(ctx, at, ids, count, func(k *chunk) error {
			sent = true
			return stream.SendMsg(k)
		})
	})
}

// named are the n pages that a request names; n is 0 where it asks for all up to
// the fork's end.
func (s *service) named(req *pagepb.GetPagesRequest) (ids func(i int) pagestore.PageID, n int, err error) {
	if len(req.Pages) == 0 {
		rel, err := s.relation(req.Relation, req.Fork)
		if err != nil {
			return nil, 0, err
		}
		if uint64(req.FirstBlock)+uint64(req.Count) > 1<<32 {
			return nil, 0, status.Errorf(codes.InvalidArgument, "%d blocks from block %d on end beyond the last that a fork can have", req.Count, req.FirstBlock)
		}
		return func(i int) pagestore.PageID {
			return pagestore.PageID{Rel: rel, Fork: wal.ForkNumber(req.Fork), Block: wal.BlockNumber(req.FirstBlock + uint32(i))}
		}, int(req.Count), nil
	}
	if len(req.Pages) > maxPages || req.Relation != nil {
		return nil, 0, status.Errorf(codes.InvalidArgument, "the request names %d pages, and a relation: %v; it can name %d pages, or a relation", len(req.Pages), req.Relation != nil, maxPages)
	}
	all := make([]pagestore.PageID, len(req.Pages))
	for i, p := range req.Pages {
		rel, err := s.relation(p.Relation, p.Fork)
		if status.Code(err) == codes.InvalidArgument {
			return nil, 0, err
		}
		all[i] = pagestore.PageID{Rel: rel, Fork: wal.ForkNumber(p.Fork), Block: wal.BlockNumber(p.Block)}
	}
	return func(i int) pagestore.PageID { return all[i] }, len(all), nil
}

// chunk is one answer of GetPages, whose memory is used again.
type chunk struct {
	res    pagepb.GetPagesResponse
	memory [chunkPages * wal.BlockSize]byte
	lsns   [chunkPages]uint64
	err    error
	ready  chan struct{}
	home   *chunks
}

// chunks keeps those that are not in use.
type chunks struct{ pool sync.Pool }

func (c *chunks) get() *chunk {
	k, _ := c.pool.Get().(*chunk)
	if k == nil {
		k = &chunk{home: c}
	}
	k.err, k.ready = nil, make(chan struct{})
	return k
}

// sendPages reads pages and sends them, in order; some are read while others are
// sent. A chunk that was sent comes back by itself (codec).
func (s *service) sendPages(ctx context.Context, at wal.LSN, ids func(int) pagestore.PageID, n int, send func(*chunk) error) error {
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan *chunk, readAhead)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() {
		defer close(queue)
		for first := 0; first < n; first += chunkPages {
			k, first := s.chunks.get(), first
			select {
			case queue <- k:
			case <-ctx.Done():
				return
			}
			reading.Go(func() {
				defer close(k.ready)
				k.err = s.fill(ctx, k, at, ids, first, min(chunkPages, n-first))
			})
		}
	})
	for k := range queue {
		<-k.ready
		if k.err != nil {
			return k.err
		}
		if err := send(k); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fill reads count pages from number first on.
func (s *service) fill(ctx context.Context, k *chunk, at wal.LSN, ids func(int) pagestore.PageID, first, count int) error {
	r := &k.res
	r.Lsn, r.Pages, r.EndLsns, r.Faults = uint64(at), k.memory[:count*wal.BlockSize], k.lsns[:count], nil
	for i := range count {
		id, page := ids(first+i), r.Pages[i*wal.BlockSize:][:wal.BlockSize]
		err := s.keeps.check(id.Rel)
		var a pagestore.Answer
		if err == nil {
			a, err = s.store.ReadPageInto(ctx, id, at, page)
		}
		if err == nil {
			r.EndLsns[i] = uint64(a.LastLSN)
			continue
		}
		switch {
		case errors.Is(err, pagestore.ErrNotReached), errors.Is(err, pagestore.ErrBelowHorizon), errors.Is(err, pagestore.ErrClosed), ctx.Err() != nil:
			return err // of all pages
		}
		clear(page)
		r.EndLsns[i] = 0
		r.Faults = append(r.Faults, &pagepb.PageFault{Index: uint32(i), Code: uint32(code(err)), Reason: err.Error()})
	}
	return nil
}
