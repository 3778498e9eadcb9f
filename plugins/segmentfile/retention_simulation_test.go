package segmentfile_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestRetentionSimulation drives a sink with a retention through writes, flushes,
// needs of others, faults, kills and power losses: what is there has never a hole,
// what others need is there, and so is what was flushed.
func TestRetentionSimulation(t *testing.T) {
	removed := 0
	for seed := range uint64(30) {
		s := &keepingSimulation{rng: rand.New(rand.NewPCG(seed, 7)), disk: crashfs.New()}
		s.wal = waltest.Random(seed, waltest.Options{}, (4+s.rng.IntN(3))*int(segSize))
		s.config = config(archive)
		s.config.Compression = []string{"none", "lz4"}[s.rng.IntN(2)]
		s.config.Retention = &segmentfile.Retention{Size: 1 + s.rng.Int64N(3*mib)}
		if err := s.run(t); err != nil {
			t.Fatalf("seed %d, after %d lives: %v", seed, s.lives, err)
		}
		removed += int(s.first - segSize.SegNo(s.wal.Options().Start))
	}
	if removed < 30 {
		t.Errorf("only %d segments were removed", removed)
	}
}

type keepingSimulation struct {
	rng     *rand.Rand
	config  *segmentfile.Config
	wal     *waltest.Writer
	disk    *crashfs.FS
	sink    *segmentfile.Sink
	session *sinktest.Session
	told    wal.LSN // most that others were said to need from
	flushed wal.LSN // most that was answered
	first   wal.SegNo
	lives   int
}

// run goes on until all of the WAL has arrived and others need none of it.
func (s *keepingSimulation) run(t *testing.T) error {
	for s.flushed < s.wal.End() {
		if err := s.open(t); err != nil {
			return err
		}
		left, forever := 1+s.rng.IntN(200), s.rng.IntN(2) == 0
		s.disk.Inject(func(c crashfs.Call) *crashfs.Fault {
			if left--; left > 0 || left < 0 && !forever || c.Op == crashfs.OpRead {
				return nil
			}
			return &crashfs.Fault{Err: syscall.EIO, Written: c.Len / 3}
		})
		err := s.live(t)
		s.disk.Inject(nil)
		if sdk.IsPermanent(err) {
			return err
		}
		if s.rng.IntN(3) == 0 {
			s.disk = s.disk.Kill()
		} else {
			s.disk = s.disk.Crash(s.rng)
		}
		s.lives++
	}
	if err := s.open(t); err != nil {
		return err
	}
	return s.check(t)
}

func (s *keepingSimulation) open(t *testing.T) error {
	s.sink = segmentfile.Inline(segmentfile.New(s.config, s.disk))
	var err error
	s.session, err = sinktest.OpenSink(t.Context(), segmentfile.Definition(), s.sink, system(), sinktest.Options{Start: s.wal.Options().Start})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	at := s.session.Result().Position.LSN
	least := wal.LSN(0)
	if s.flushed > 0 {
		least = segSize.Start(s.flushed)
	}
	for _, rec := range s.wal.Records() {
		if rec.End <= s.flushed {
			least = max(least, rec.End)
		}
	}
	if at < least {
		return fmt.Errorf("position %s after %s was flushed: at least %s must be there", at, s.flushed, least)
	}
	return s.check(t)
}

// live goes on until something fails, or luck does.
func (s *keepingSimulation) live(t *testing.T) error {
	for s.rng.IntN(40) > 0 {
		switch s.rng.IntN(6) {
		case 0, 1:
			lsn, err := s.session.Flush(t.Context())
			if err != nil {
				return err
			}
			if s.flushed = max(s.flushed, lsn); lsn == s.wal.End() {
				return nil
			}
		case 2:
			s.disk.Writeback(s.rng, s.rng.Float64())
		case 3:
			if s.flushed == 0 {
				continue
			}
			start := s.wal.Options().Start
			from := start + wal.LSN(s.rng.Int64N(int64(s.flushed-start)+1))
			s.told = max(s.told, from)
			if err := s.sink.Retain(t.Context(), wal.Position{Timeline: 1, LSN: from}); err != nil {
				return err
			}
			if err := s.check(t); err != nil {
				return sdk.Permanent(err)
			}
		default:
			at := s.session.Next()
			to := min(at+1+wal.LSN(s.rng.IntN(600_000)), s.wal.End())
			if err := s.session.Deliver(t.Context(), until(s.wal, to)[at-s.wal.Options().Start:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// check looks at the directory: segments follow each other, and what others need
// is there.
func (s *keepingSimulation) check(t *testing.T) error {
	list, err := s.disk.ReadDir(archive)
	if err != nil {
		return nil // a fault that was injected
	}
	var have []wal.SegNo
	for _, e := range list {
		base, _, _ := strings.Cut(e.Name(), ".")
		if _, no, err := segSize.ParseFileName(base); err == nil && !strings.HasSuffix(e.Name(), ".tmp") {
			have = append(have, no)
		}
	}
	for i := 1; i < len(have); i++ {
		if have[i] > have[i-1]+1 {
			return fmt.Errorf("a hole: %s", names(t, s.disk))
		}
	}
	if len(have) == 0 {
		return nil
	}
	s.first = have[0]
	if need := segSize.SegNo(s.told); s.told > 0 && s.first > need {
		return fmt.Errorf("WAL from %s on is needed, and the archive begins with segment %d", s.told, s.first)
	}
	return nil
}
