package pagecache

import (
	"context"

	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// WaitLSN waits for an LSN.
func (s *service) WaitLSN(ctx context.Context, req *pagepb.WaitLSNRequest) (*pagepb.WaitLSNResponse, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	ctx, cancel := patience(ctx, req.WaitMs)
	defer cancel()
	st, err := s.store.Wait(ctx, wal.LSN(req.Lsn))
	if err != nil {
		return nil, readStatus(err)
	}
	return &pagepb.WaitLSNResponse{LastValidLsn: uint64(st.LastValid)}, nil
}

// Status says what the cache holds.
func (s *service) Status(context.Context, *pagepb.StatusRequest) (*pagepb.StatusResponse, error) {
	st := s.store.Visible()
	size, err := s.store.Size()
	if err != nil {
		return nil, readStatus(err)
	}
	return &pagepb.StatusResponse{
		SystemIdentifier: st.SystemID,
		Timeline:         uint32(st.Timeline),
		HorizonLsn:       uint64(st.Horizon),
		LastRecordLsn:    uint64(st.LastRecord),
		LastValidLsn:     uint64(st.LastValid),
		FlushedLsn:       uint64(st.Position),
		ValuesBytes:      size.Values,
		IndexBytes:       size.Index,
		ImageBytes:       size.Images,
		LiveImageBytes:   size.LiveImages,
		BaseBackupLsn:    uint64(st.BaseLSN),
		SegmentSize:      uint32(st.SegmentSize),
		ServerVersion:    uint32(s.major),
	}, nil
}
