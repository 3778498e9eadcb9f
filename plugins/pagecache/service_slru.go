package pagecache

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// GetSLRUPage waits for the LSN and reads the page.
func (s *service) GetSLRUPage(ctx context.Context, req *pagepb.GetSLRUPageRequest) (*pagepb.GetPageResponse, error) {
	if req.Slru < pagepb.SLRU_SLRU_XACT || req.Slru > pagepb.SLRU_SLRU_COMMIT_TS {
		return nil, status.Errorf(codes.InvalidArgument, "there is no SLRU %d; they are 1 pg_xact, 2 pg_multixact/offsets, 3 pg_multixact/members and 4 pg_commit_ts", req.Slru)
	}
	return s.page(ctx, req, pagestore.SLRUPage(slru.Kind(req.Slru), req.Page))
}

// GetRelMap waits for the LSN and reads the map.
func (s *service) GetRelMap(ctx context.Context, req *pagepb.GetRelMapRequest) (*pagepb.GetRelMapResponse, error) {
	spc, db := wal.OID(req.Tablespace), wal.OID(req.Database)
	if spc == 0 || (db == 0) != (spc == relfile.GlobalSpace) {
		return nil, status.Errorf(codes.InvalidArgument, "database %d in tablespace %d has no relation map; the shared one is database 0 in tablespace %d", db, spc, relfile.GlobalSpace)
	}
	res, err := s.page(ctx, req, pagestore.RelMapPage(spc, db))
	if err != nil {
		return nil, err
	}
	file, err := pagestore.RelMapFile(res.Image.Page)
	if err != nil {
		return nil, readStatus(err)
	}
	return &pagepb.GetRelMapResponse{Lsn: res.Lsn, File: file}, nil
}
