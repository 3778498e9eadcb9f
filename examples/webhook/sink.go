package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// request is the body of a request.
type request struct {
	SystemID uint64         `json:"system_id,string"`
	Timeline wal.TimelineID `json:"timeline"`
	Records  []record       `json:"records"`
}

// record is a record of the WAL. Its end LSN grows from record to record, and is
// the same whenever it is sent.
type record struct {
	StartLSN  wal.LSN    `json:"start_lsn"`
	EndLSN    wal.LSN    `json:"end_lsn"`
	XID       wal.XID    `json:"xid,omitempty"`
	Rmgr      string     `json:"rmgr"`
	Operation string     `json:"operation"`
	Length    uint32     `json:"length"`
	Relations []string   `json:"relations,omitempty"` // tablespace/database/relfilenode
	XactTime  *time.Time `json:"xact_time,omitempty"`
}

// saved is the file position.json.
type saved struct {
	Format   int            `json:"format"`
	SystemID uint64         `json:"system_id,string"`
	Timeline wal.TimelineID `json:"timeline"`
	Position wal.LSN        `json:"position"`
}

const format = 1 // of position.json

// sink sends records when a batch is full and at each Flush, and only then keeps
// the position: what was sent after the last Flush is sent again after a crash.
type sink struct {
	fsys   durable.FS
	config *config
	post   *poster
	lock   io.Closer

	next     saved // the position after what was written
	onDisk   wal.LSN
	pending  []record
	timeline wal.TimelineID // of pending
}

func (s *sink) file() string { return filepath.Join(s.config.Directory, "position.json") }

// Open reads the position. It does not ask whether the server is there: retrying
// is Write's and Flush's to do.
func (s *sink) Open(ctx context.Context, req *sdk.OpenRequest) (_ sdk.OpenResult, err error) {
	s.post.log = req.Logger
	if err := durable.MkdirAll(s.fsys, s.config.Directory, 0o755); err != nil {
		return sdk.OpenResult{}, err
	}
	if s.lock, err = s.fsys.Lock(ctx, filepath.Join(s.config.Directory, "lock"), req.LockWait); err != nil {
		return sdk.OpenResult{}, err
	}
	err = s.load()
	if errors.Is(err, fs.ErrNotExist) {
		s.next = saved{Format: format, SystemID: req.System.ID}
		return sdk.OpenResult{New: true}, nil
	}
	if err != nil {
		return sdk.OpenResult{}, errors.Join(err, s.lock.Close())
	}
	at := wal.Position{Timeline: s.next.Timeline, LSN: s.next.Position}
	return sdk.OpenResult{SystemID: s.next.SystemID, Position: at}, nil
}

func (s *sink) load() error {
	f, err := s.fsys.OpenFile(s.file(), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&s.next); err != nil {
		return sdk.Permanentf("%s cannot be read: %w; remove it to begin anew", s.file(), err)
	}
	if s.next.Format > format {
		return sdk.Permanentf("%s has format %d, this sink knows up to %d: install a newer one", s.file(), s.next.Format, format)
	}
	s.onDisk = s.next.Position
	return nil
}

// Write collects records, and sends them when a batch is full. While it waits for
// the server the host's blocks wait too, in bounded number.
func (s *sink) Write(ctx context.Context, b *sdk.Batch) error {
	s.timeline = b.Timeline()
	var failed error
	for rec := range b.Records() { // to the end: see Batch.Records
		if failed != nil || !rec.Last() {
			continue
		}
		s.pending = append(s.pending, describe(rec))
		if len(s.pending) >= s.config.Batch {
			failed = s.send(ctx)
		}
	}
	s.next.Timeline, s.next.Position = b.Timeline(), b.To()
	return failed
}

func describe(rec *wal.Record) record {
	r := record{StartLSN: rec.StartLSN, EndLSN: rec.EndLSN, XID: rec.XID, Rmgr: rec.RmgrID.String(), Operation: rec.Operation(), Length: rec.TotalLen}
	for i := range rec.Blocks {
		if rel := rec.Blocks[i].Rel; i == 0 || rel != rec.Blocks[i-1].Rel {
			r.Relations = append(r.Relations, rel.String())
		}
	}
	if us, ok := rec.XactTime(); ok {
		t := wal.TimestampTime(us)
		r.XactTime = &t
	}
	return r
}

// send sends what is pending. Its key names what is in it: two requests with the
// same key have the same records.
func (s *sink) send(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	first, last := s.pending[0].StartLSN, s.pending[len(s.pending)-1].EndLSN
	body, err := json.Marshal(request{SystemID: s.next.SystemID, Timeline: s.timeline, Records: s.pending})
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s-%d-%016X-%016X", strconv.FormatUint(s.next.SystemID, 10), s.timeline, uint64(first), uint64(last))
	if err := s.post.send(ctx, key, body); err != nil {
		return fmt.Errorf("records from %s to %s: %w", first, last, err)
	}
	s.pending = s.pending[:0]
	return nil
}

// Flush sends what is left, and then keeps the position.
func (s *sink) Flush(ctx context.Context) (wal.LSN, error) {
	if err := s.send(ctx); err != nil {
		return 0, err
	}
	if s.next.Position == s.onDisk {
		return s.onDisk, nil
	}
	b, err := json.Marshal(&s.next)
	if err != nil {
		return 0, err
	}
	if err := durable.WriteFileAtomic(s.fsys, s.file(), append(b, '\n'), 0o644); err != nil {
		return 0, err
	}
	s.onDisk = s.next.Position
	return s.onDisk, nil
}

// Close lets another process have the directory.
func (s *sink) Close(context.Context) error {
	s.post.client.CloseIdleConnections()
	return s.lock.Close()
}
