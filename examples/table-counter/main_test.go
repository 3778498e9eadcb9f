package main

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const directory = "/counts"

func open(t *testing.T, fsys durable.FS, w *waltest.Writer) *sinktest.Session {
	t.Helper()
	o := w.Options()
	sys := sdk.System{ID: o.SystemID, Timeline: o.Timeline, SegmentSize: o.SegmentSize, ServerVersion: 150000}
	s, err := sinktest.Open(t.Context(), definition(fsys), map[string]string{"directory": directory}, sys, sinktest.Options{Start: o.Start})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// deliver hands over the WAL from the session's place up to lsn.
func deliver(t *testing.T, s *sinktest.Session, w *waltest.Writer, lsn wal.LSN) {
	t.Helper()
	start := w.Options().Start
	if err := s.Deliver(t.Context(), w.Bytes()[s.Next()-start:lsn-start]); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, s *sinktest.Session) wal.LSN {
	t.Helper()
	lsn, err := s.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// saved is what counts.json holds.
func saved(t *testing.T, fsys durable.FS) (c counts) {
	t.Helper()
	f, err := fsys.OpenFile(directory+"/counts.json", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// expected counts the records that end at or before lsn from what was written.
func expected(t *testing.T, w *waltest.Writer, lsn wal.LSN) map[string]map[string]int64 {
	t.Helper()
	want := map[string]map[string]int64{}
	for _, a := range w.Records() {
		if a.End > lsn {
			break
		}
		rec := wal.Record{Version: w.Options().Version}
		if err := rec.Decode(a.Raw); err != nil {
			t.Fatal(err)
		}
		relations := map[string]bool{}
		for _, b := range rec.Blocks {
			relations[b.Rel.String()] = true
		}
		if len(relations) == 0 {
			relations["none"] = true
		}
		for r := range maps.Keys(relations) {
			if want[r] == nil {
				want[r] = map[string]int64{}
			}
			want[r][rec.RmgrID.String()+" "+rec.Operation()]++
		}
	}
	return want
}

// Killed and cut off from power at any moment, between calls or inside Flush, the
// sink comes back with exactly the records up to its position.
func TestEachRecordCountsOnce(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := waltest.Random(seed, waltest.Options{}, 2<<20)
		fsys := crashfs.New()
		var flushed wal.LSN
		for flushed < w.End() {
			s := open(t, fsys, w)
			if at := s.Result().Position.LSN; at < flushed {
				t.Fatalf("seed %d: %s was flushed, the sink came back at %s", seed, flushed, at)
			}
			if at := s.Result().Position.LSN; at > 0 {
				if got, want := saved(t, fsys).Records, expected(t, w, at); !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d: at %s the file counts %v, the WAL has %v", seed, at, got, want)
				}
			}
			for range 1 + rng.IntN(3) {
				deliver(t, s, w, min(s.Next()+wal.LSN(rng.IntN(1<<20)), w.End()))
				if rng.IntN(2) == 0 {
					flushed = flush(t, s)
				}
			}
			if rng.IntN(2) == 0 {
				failFlush(t, s, fsys, rng)
			}
			s.Kill()
			if rng.IntN(2) == 0 {
				fsys = fsys.Kill()
			} else {
				fsys = fsys.Crash(rng)
			}
		}
		if got, want := saved(t, fsys).Records, expected(t, w, w.End()); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: at the end the file counts %v, the WAL has %v", seed, got, want)
		}
	}
}

// failFlush lets a call of the file system fail in the middle of a Flush.
func failFlush(t *testing.T, s *sinktest.Session, fsys *crashfs.FS, rng *rand.Rand) {
	left := rng.IntN(5)
	failed := errors.New("the disk has failed")
	fsys.Inject(func(crashfs.Call) *crashfs.Fault {
		if left--; left < 0 {
			return &crashfs.Fault{Err: failed}
		}
		return nil
	})
	if _, err := s.Flush(t.Context()); err != nil && !errors.Is(err, failed) {
		t.Fatal(err)
	}
	fsys.Inject(nil)
}

func TestUnreadableFile(t *testing.T) {
	for content, reason := range map[string]string{
		"{":                            "cannot be read",
		`{"format":2,"system_id":"1"}`: "has format 2",
	} {
		fsys := crashfs.New()
		if err := durable.MkdirAll(fsys, directory, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFileAtomic(fsys, directory+"/counts.json", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		sink := &sink{fsys: fsys, dir: directory}
		_, err := sink.Open(t.Context(), &sdk.OpenRequest{LockWait: time.Second})
		if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), reason) {
			t.Errorf("a file %q: %v, want a permanent error with %q", content, err, reason)
		}
	}
}
