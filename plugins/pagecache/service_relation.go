package pagecache

import (
	"context"
	"errors"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// listForks is how many forks go in one answer of List.
const listForks = 1024

// RelSize waits for the LSN and looks for the fork's size.
func (s *service) RelSize(ctx context.Context, req *pagepb.RelSizeRequest) (*pagepb.RelSizeResponse, error) {
	res := &pagepb.RelSizeResponse{}
	rel, err := s.relation(req.Relation, req.Fork)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, req, func(at wal.LSN) error {
		blocks, at, err := s.store.RelSize(ctx, rel, wal.ForkNumber(req.Fork), at)
		res.Lsn, res.Blocks = uint64(at), uint32(blocks)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// RelExists waits for the LSN and says whether the fork has a size.
func (s *service) RelExists(ctx context.Context, req *pagepb.RelSizeRequest) (*pagepb.RelExistsResponse, error) {
	res := &pagepb.RelExistsResponse{}
	rel, err := s.relation(req.Relation, req.Fork)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, req, func(at wal.LSN) error {
		_, _, err := s.store.RelSize(ctx, rel, wal.ForkNumber(req.Fork), at)
		res.Lsn, res.Exists = uint64(at), err == nil
		if errors.Is(err, pagestore.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// DbSize waits for the LSN and adds up the sizes of a database's forks.
func (s *service) DbSize(ctx context.Context, req *pagepb.DbSizeRequest) (*pagepb.DbSizeResponse, error) {
	res := &pagepb.DbSizeResponse{}
	db := wal.OID(req.Database)
	err := s.read(ctx, req, func(at wal.LSN) (err error) {
		res.Bytes = 0
		at, err = s.store.EachFork(ctx, at, &db, func(f pagestore.RelFork) error {
			if s.keeps.check(f.Rel) == nil {
				res.Bytes += uint64(f.Blocks) * wal.BlockSize
			}
			return nil
		})
		res.Lsn = uint64(at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// List waits for the LSN and names the forks. They are sent once all are known,
// so that a slow client holds up nothing in the store.
func (s *service) List(req *pagepb.ListRequest, stream pagepb.Pages_ListServer) error {
	ctx := stream.Context()
	var db *wal.OID
	if !req.All {
		oid := wal.OID(req.Database)
		db = &oid
	}
	var forks []pagestore.RelFork
	var as wal.LSN
	err := s.read(ctx, req, func(at wal.LSN) (err error) {
		forks = forks[:0]
		as, err = s.store.EachFork(ctx, at, db, func(f pagestore.RelFork) error {
			if s.keeps.check(f.Rel) == nil {
				forks = append(forks, f)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	for first := 0; first < len(forks); first += listForks {
		res := &pagepb.ListResponse{Lsn: uint64(as)}
		for _, f := range forks[first:min(first+listForks, len(forks))] {
			res.Forks = append(res.Forks, &pagepb.RelFork{
				Relation: &pagepb.Relation{Tablespace: uint32(f.Rel.Spc), Database: uint32(f.Rel.DB), Relation: uint32(f.Rel.Rel)},
				Fork:     uint32(f.Fork), Blocks: uint32(f.Blocks),
			})
		}
		if err := stream.Send(res); err != nil {
			return err
		}
	}
	return nil
}
