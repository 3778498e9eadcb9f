// Command table-counter is a sink for Walplex: it counts the records of the WAL
// by relation and operation, each exactly once whatever crashes, and shows the
// counts to Prometheus.
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

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

func main() { sdk.Serve(definition(durable.OS{})) }

type config struct {
	Directory string `walplex:"directory" format:"path" default:"counts" doc:"where counts.json is kept; made when missing"`
	Listen    string `walplex:"listen" doc:"address of this machine, such as 127.0.0.1:9188, where /metrics is served; nowhere without it"`
}

// Validate: nobody is asked who they are, so the counts are this machine's alone.
func (c *config) Validate() []sdk.ConfigError {
	if c.Listen == "" || loopback(c.Listen) {
		return nil
	}
	return []sdk.ConfigError{{Path: []any{"listen"}, Summary: "Not an address of this machine alone", Detail: `write "127.0.0.1:PORT" or "[::1]:PORT"`}}
}

// MaxRecord(0): a count needs no more than the last fragment of a large record.
func definition(fsys durable.FS) *sdk.Definition {
	return sdk.Define("table_counter",
		func(c *config) sdk.Sink {
			return &sink{fsys: fsys, dir: c.Directory, metrics: metrics{address: c.Listen}}
		},
		sdk.Records(), sdk.MaxRecord(0))
}

// counts is the file counts.json. What was counted and the position up to which
// it was counted change in one atomic write: that is what "exactly once" takes.
type counts struct {
	Format   int            `json:"format"`
	SystemID uint64         `json:"system_id,string"`
	Timeline wal.TimelineID `json:"timeline"`
	Position wal.LSN        `json:"position"`
	// Records by relation, "spc/db/rel" or "none", and operation, "Heap INSERT". A
	// record that changes several relations counts for each of them.
	Records map[string]map[string]int64 `json:"records"`
}

const format = 1 // of counts.json

// maxRelations bounds how many relations have counts of their own, and so memory,
// counts.json and what Prometheus gets; all others are counted as one.
const (
	maxRelations = 10_000
	others       = "other"
)

type sink struct {
	fsys    durable.FS
	dir     string
	lock    io.Closer
	counts  counts
	saved   wal.LSN // the position that is on disk
	metrics metrics
}

func (s *sink) file() string { return filepath.Join(s.dir, "counts.json") }

// Open reads the counts back and answers their position.
func (s *sink) Open(ctx context.Context, req *sdk.OpenRequest) (_ sdk.OpenResult, err error) {
	if err := durable.MkdirAll(s.fsys, s.dir, 0o755); err != nil {
		return sdk.OpenResult{}, err
	}
	if s.lock, err = s.fsys.Lock(ctx, filepath.Join(s.dir, "lock"), req.LockWait); err != nil {
		return sdk.OpenResult{}, err
	}
	err = s.load()
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		s.counts, err = counts{Format: format, SystemID: req.System.ID, Records: map[string]map[string]int64{}}, nil
	}
	if err == nil {
		err = s.metrics.serve(&s.counts)
	}
	if err != nil {
		return sdk.OpenResult{}, errors.Join(err, s.lock.Close())
	}
	if isNew {
		return sdk.OpenResult{New: true}, nil
	}
	at := wal.Position{Timeline: s.counts.Timeline, LSN: s.counts.Position}
	return sdk.OpenResult{SystemID: s.counts.SystemID, Position: at}, nil
}

func (s *sink) load() error {
	f, err := s.fsys.OpenFile(s.file(), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&s.counts); err != nil {
		return sdk.Permanentf("%s cannot be read: %w; remove it to count anew", s.file(), err)
	}
	if s.counts.Format > format {
		return sdk.Permanentf("%s has format %d, this table-counter knows up to %d: install a newer one", s.file(), s.counts.Format, format)
	}
	s.saved = s.counts.Position
	return nil
}

// Write counts in memory.
func (s *sink) Write(_ context.Context, b *sdk.Batch) error {
	for rec := range b.Records() {
		if rec.Last() { // a large record counts where it ends, and positions never lie inside it
			s.count(rec)
		}
	}
	s.counts.Timeline, s.counts.Position = b.Timeline(), b.To()
	return nil
}

func (s *sink) count(rec *wal.Record) {
	op := fmt.Sprintf("%s %s", rec.RmgrID, rec.Operation())
	if len(rec.Blocks) == 0 {
		s.add("none", op)
	}
	for i, block := range rec.Blocks {
		if !references(rec.Blocks[:i], block.Rel) {
			s.add(block.Rel.String(), op)
		}
	}
}

func references(blocks []wal.BlockRef, rel wal.RelFileLocator) bool {
	for i := range blocks {
		if blocks[i].Rel == rel {
			return true
		}
	}
	return false
}

func (s *sink) add(relation, op string) {
	if s.counts.Records[relation] == nil && len(s.counts.Records) >= maxRelations {
		relation = others
	}
	if s.counts.Records[relation] == nil {
		s.counts.Records[relation] = map[string]int64{}
	}
	s.counts.Records[relation][op]++
}

// Flush replaces the file, and only then says so.
func (s *sink) Flush(context.Context) (wal.LSN, error) {
	if s.counts.Position == s.saved {
		return s.saved, nil
	}
	b, err := json.MarshalIndent(&s.counts, "", "\t")
	if err != nil {
		return 0, err
	}
	if err := durable.WriteFileAtomic(s.fsys, s.file(), b, 0o644); err != nil {
		return 0, err
	}
	s.saved = s.counts.Position
	s.metrics.publish(&s.counts)
	return s.saved, nil
}

// Close lets another process have the directory and the address.
func (s *sink) Close(context.Context) error { return errors.Join(s.metrics.close(), s.lock.Close()) }
