package pagecache

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// relation is the relation that a request names, where the sink stores it.
func (s *service) relation(r *pagepb.Relation, fork uint32) (wal.RelFileLocator, error) {
	rel := wal.RelFileLocator{Spc: wal.OID(r.GetTablespace()), DB: wal.OID(r.GetDatabase()), Rel: wal.OID(r.GetRelation())}
	switch {
	case rel.Rel == 0:
		return rel, status.Error(codes.InvalidArgument, "the request names no relation")
	case rel.Spc == 0:
		return rel, status.Errorf(codes.InvalidArgument, "the request names no tablespace: relation %s lies in none", rel)
	case fork > uint32(wal.InitFork):
		return rel, status.Errorf(codes.InvalidArgument, "there is no fork %d; the forks are 0 main, 1 fsm, 2 vm and 3 init", fork)
	}
	return rel, readStatus(s.keeps.check(rel))
}

// GetPage waits for the LSN and reads the page.
func (s *service) GetPage(ctx context.Context, req *pagepb.GetPageRequest) (*pagepb.GetPageResponse, error) {
	rel, err := s.relation(req.Relation, req.Fork)
	if err != nil {
		return nil, err
	}
	return s.page(ctx, req, pagestore.PageID{Rel: rel, Fork: wal.ForkNumber(req.Fork), Block: wal.BlockNumber(req.Block)})
}

func (s *service) page(ctx context.Context, req asOf, id pagestore.PageID) (*pagepb.GetPageResponse, error) {
	var a *pagestore.Answer
	err := s.read(ctx, req, func(at wal.LSN) (err error) {
		a, err = s.store.ReadPage(ctx, id, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &pagepb.GetPageResponse{Lsn: uint64(a.At), Image: &pagepb.PageImage{Page: a.Page, EndLsn: uint64(a.LastLSN)}}, nil
}
