package pagecache

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/rmgrdesc"
)

// Limits of one answer of History; one record more may exceed the bytes.
const (
	historyRecords = 256
	historyBytes   = 1 << 20
)

// errEnough ends a walk over a page's records when an answer is full.
var errEnough = errors.New("enough records")

// History waits for the LSN and tells the page's records. What is found is sent
// outside of the walk, so that a slow client holds up nothing in the store.
func (s *service) History(req *pagepb.HistoryRequest, stream pagepb.Pages_HistoryServer) error {
	ctx := stream.Context()
	rel, err := s.relation(req.Relation, req.Fork)
	if err != nil {
		return err
	}
	id := pagestore.PageID{Rel: rel, Fork: wal.ForkNumber(req.Fork), Block: wal.BlockNumber(req.Block)}
	from := wal.LSN(req.FromLsn)
	if req.Lsn != 0 && req.FromLsn > req.Lsn {
		return status.Errorf(codes.InvalidArgument, "records that end after %s and at or before %s: there can be none", from, wal.LSN(req.Lsn))
	}
	sent := false
	return s.read(ctx, req, func(at wal.LSN) error {
		if sent {
			return status.Errorf(codes.Aborted, "the server was promoted before all records up to %s were read; try again", at)
		}
		for last := from; ; {
			// Records before the horizon that are held still are told to who asks for
			// all, but not to be asked for by LSN.
			begin := last
			if last != from && last < s.store.Visible().Horizon {
				begin = 0
			}
			res, end, err := s.records(ctx, id, begin, last, at, req.Records)
			if err != nil && !errors.Is(err, errEnough) {
				return err
			}
			if len(res.Records) > 0 {
				sent = true
				if err := stream.Send(res); err != nil {
					return err
				}
			}
			if err == nil {
				return nil
			}
			last = end
		}
	})
}

// records are the next ones of a page's that end after last, looked for from begin
// on, and where the last of them ends; errEnough says that there may be more.
func (s *service) records(ctx context.Context, id pagestore.PageID, begin, last, to wal.LSN, bytes bool) (*pagepb.HistoryResponse, wal.LSN, error) {
	res, size, former := &pagepb.HistoryResponse{Lsn: uint64(to)}, 0, last
	_, err := s.store.EachRecord(ctx, id, begin, to, func(rec *wal.Record, flags pagestore.RecordFlags, blockID uint8) error {
		if rec.EndLSN <= former {
			return nil
		}
		if (len(res.Records) >= historyRecords || size >= historyBytes) && rec.EndLSN != last {
			return errEnough
		}
		h := historyRecord(rec, flags, blockID)
		if bytes {
			h.Record = append([]byte(nil), rec.Data...)
		}
		res.Records = append(res.Records, h)
		size += len(h.Description) + len(h.Record)
		last = rec.EndLSN
		return nil
	})
	return res, last, err
}

// historyRecord describes a record, times in UTC.
func historyRecord(rec *wal.Record, flags pagestore.RecordFlags, blockID uint8) *pagepb.HistoryRecord {
	return &pagepb.HistoryRecord{
		StartLsn: uint64(rec.StartLSN), EndLsn: uint64(rec.EndLSN), Xid: uint32(rec.XID),
		Rmgr: uint32(rec.RmgrID), Info: uint32(rec.Info), RmgrName: rec.RmgrID.String(), Operation: rec.Operation(),
		Description: string(rmgrdesc.AppendIn(nil, rec, time.UTC)),
		Init:        flags&pagestore.RecordInit != 0, Image: flags&pagestore.RecordImage != 0, Implied: flags&pagestore.RecordImplied != 0,
		Length: rec.TotalLen, BlockId: uint32(blockID), Version: uint32(rec.Version),
	}
}

// Locate looks for a transaction's end.
func (s *service) Locate(ctx context.Context, req *pagepb.LocateRequest) (*pagepb.LocateResponse, error) {
	var find func(to wal.LSN) (pagestore.Ending, error)
	switch what := req.What.(type) {
	case *pagepb.LocateRequest_Xid:
		find = func(to wal.LSN) (pagestore.Ending, error) { return s.store.LocateXID(ctx, what.Xid, to) }
	case *pagepb.LocateRequest_CommitTime:
		find = func(to wal.LSN) (pagestore.Ending, error) { return s.store.LocateTime(ctx, what.CommitTime, to) }
	default:
		return nil, status.Error(codes.InvalidArgument, "the request names neither a transaction nor a time")
	}
	var e pagestore.Ending
	err := s.read(ctx, locating{req}, func(at wal.LSN) (err error) {
		e, err = find(at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &pagepb.LocateResponse{StartLsn: uint64(e.StartLSN), EndLsn: uint64(e.EndLSN), Xid: e.XID, Aborted: e.Aborted, Time: e.Time}, nil
}

// locating is a request that waits as long as its deadline allows.
type locating struct{ *pagepb.LocateRequest }

func (locating) GetWaitMs() uint32 { return 0 }
