package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// testStream is a stream of one required sink and one that is not.
func testStream(change ...func(*Config)) *Stream {
	cfg := Config{Name: "test", Sinks: []SinkConfig{{Name: "archive", Required: true}, {Name: "trail"}}}
	for _, c := range change {
		c(&cfg)
	}
	return New(cfg, slog.New(slog.DiscardHandler))
}

// withChain attaches the first sink at lsn; its process is not real.
func withChain(s *Stream, lsn wal.LSN) *Stream {
	s.chain = chain.New([]chain.Sink{{Name: "archive", Required: true}, {Name: "trail"}}, mib, true, s.cfg.Limits)
	s.chain.Attach(0, lsn, false)
	s.sinks[0].life, s.sinks[0].best = &life{name: "archive"}, lsn
	return s
}

func TestBackoff(t *testing.T) {
	var b backoff
	want := backoffMin
	for range 20 {
		if d := b.delay(); d < want/2 || d > want {
			t.Fatalf("delay %s, want between %s and %s", d, want/2, want)
		}
		want = min(2*want, backoffMax)
	}
	b.reset()
	if d := b.delay(); d > backoffMin {
		t.Errorf("delay %s after reset", d)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !wait(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("waited %s", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began = time.Now(); wait(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Errorf("waited %s beside the end of the context", time.Since(began))
		}
	})
}

// TestPauseHearsFaults: a required sink that gives up while there is no connection
// ends the stream; one that is not required does not, nor does one that is back.
func TestPauseHearsFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withChain(testStream(), 1<<20)
		began := time.Now()
		s.happened <- happening{sink: 1, failed: true, err: faultf("its directory is another's")}
		s.happened <- happening{sink: 1, opened: true, life: &life{}}
		if err := s.pause(t.Context(), nil, time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if s.sinks[1].off == nil || s.sinks[1].life == nil {
			t.Error("what was heard is not kept")
		}
		s.happened <- happening{sink: 0, failed: true, err: faultf("its directory is another's")}
		if err := s.pause(t.Context(), nil, time.Minute); !permanent(err) {
			t.Errorf("a required sink's fault is answered by %v", err)
		}
		drain := make(chan struct{})
		close(drain)
		if err := s.pause(t.Context(), drain, time.Minute); !errors.Is(err, errDrain) {
			t.Errorf("%v after the wish to stop", err)
		}
	})
}

// TestSignOfLife: silence is the time for which an answer is owed, not the time
// in which nobody asked, as during an outage of the server.
func TestSignOfLife(t *testing.T) {
	l := &life{queue: make(chan outgoing, 4), log: slog.New(slog.DiscardHandler)}
	began := time.Now()
	ask := func(after, want time.Duration) {
		t.Helper()
		if got := l.heartbeat(began.Add(after)); got != want {
			t.Errorf("after %s it owes an answer for %s, want %s", after, got, want)
		}
	}
	ask(0, 0)
	ask(20*time.Second, 20*time.Second)
	l.words.Add(1)
	ask(25*time.Second, 0)
	l.words.Add(1)
	ask(time.Hour, 0)
	ask(time.Hour+30*time.Second, 30*time.Second)
	l.words.Add(1)
	// A queue that is half full is question enough.
	n := len(l.queue)
	ask(2*time.Hour, 0)
	if len(l.queue) != n {
		t.Errorf("%d in the queue, %d before", len(l.queue), n)
	}
	ask(2*time.Hour+time.Second, time.Second)
}

// TestQueueOverflow: a sink that lies about what it has given back can make the
// chain send more than the queue holds. That ends the sink, not the loop.
func TestQueueOverflow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &life{queue: make(chan outgoing, 1), log: slog.New(slog.DiscardHandler), cancel: cancel}
	b := &buffer{pool: &pool{}, data: make([]byte, 0, wire.BlockWAL)}
	b.hold()
	l.push(outgoing{buffer: b})
	if b.hold(); ctx.Err() != nil {
		t.Error("ended too early")
	}
	l.push(outgoing{buffer: b})
	if ctx.Err() == nil || b.holders.Load() != 1 {
		t.Errorf("not ended, or the buffer has %d holders", b.holders.Load())
	}
	l.empty()
	if len(b.pool.free) != 1 {
		t.Errorf("%d buffers are free", len(b.pool.free))
	}
}

// TestBackoffOfPoisonedSink: a sink that always dies of the same record reports
// progress in each life. Only what it has never flushed before makes its next
// start come sooner.
func TestBackoffOfPoisonedSink(t *testing.T) {
	s := withChain(testStream(), 1<<20)
	k := &s.sinks[0]
	progress := func(flushed wal.LSN) {
		t.Helper()
		err := s.heard(t.Context(), happening{sink: 0, life: k.life, progress: &wire.Progress{WrittenLsn: uint64(flushed), FlushedLsn: uint64(flushed)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // three lives
		s.chain.Attach(0, 1<<20, false)
		s.chain.Restart(1 << 20)
		if _, err := s.chain.Add(chain.Block{Start: 1 << 20, End: 1<<20 + 512, RecordsEnd: 1<<20 + 512, Size: 512}); err != nil {
			t.Fatal(err)
		}
		s.chain.Next(nil)
		progress(1<<20 + 256)
		k.backoff.delay()
	}
	if k.backoff.next != 4*backoffMin {
		t.Errorf("the next delay grows from %s", k.backoff.next)
	}
	progress(1<<20 + 264)
	if k.backoff.next != 0 {
		t.Error("new progress does not count")
	}
}

func TestJudge(t *testing.T) {
	s := testStream()
	bad := func(lsn wal.LSN) error {
		return fmt.Errorf("read: %w", corrupt(wal.Errorf(lsn, "incorrect prev-link")))
	}
	for i, test := range []struct {
		lsn       wal.LSN
		permanent bool
	}{{0x100, false}, {0x100, false}, {0x200, false}, {0x100, false}, {0x100, false}, {0x100, true}} {
		if err := s.judge(t.Context(), bad(test.lsn)); permanent(err) != test.permanent || !strings.Contains(err.Error(), "incorrect prev-link") {
			t.Errorf("reading %d: %v", i, err)
		}
	}
	gap := &replication.Error{Op: "START_REPLICATION", Gap: true, Permanent: true, Message: "requested WAL segment has already been removed"}
	withChain(s, 3<<20)
	s.sys.FlushLSN = 9 << 20
	err := s.judge(t.Context(), gap)
	var f *Fault
	if !errors.As(err, &f) || !f.Gap || !strings.Contains(err.Error(), "0/300000") || !strings.Contains(err.Error(), "0/900000") || !strings.Contains(err.Error(), "archive") {
		t.Errorf("a gap: %v", err)
	}
}

// TestSameSystem: after a reconnect the same cluster must answer.
func TestSameSystem(t *testing.T) {
	first := replication.System{SystemID: 1, Timeline: 2, SegmentSize: mib, FlushLSN: 1 << 20}
	for name, change := range map[string]func(*replication.System){
		"other cluster":      func(s *replication.System) { s.SystemID = 9 },
		"other segment size": func(s *replication.System) { s.SegmentSize = 2 * mib },
		"no segment size":    func(s *replication.System) { s.SegmentSize = 0 },
	} {
		s := testStream()
		if err := s.sameSystem(first); err != nil {
			t.Fatal(err)
		}
		withChain(s, 1<<20)
		next := first
		next.FlushLSN = 5 << 20
		if err := s.sameSystem(next); err != nil || s.system().FlushLSN != next.FlushLSN {
			t.Errorf("the same: %v, %+v", err, s.system())
		}
		change(&next)
		if err := s.sameSystem(next); !permanent(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := testStream()
	if err := s.sameSystem(first); err != nil {
		t.Fatal(err)
	}
	withChain(s, 1<<20)
	promoted, former := first, first
	promoted.Timeline, former.Timeline = 3, 1
	if err := s.sameSystem(former); err == nil || permanent(err) || !strings.Contains(err.Error(), "former primary") {
		t.Errorf("a former primary: %v", err)
	}
	if err := s.sameSystem(promoted); err != nil {
		t.Errorf("promoted: %v", err)
	}
	if err := s.sameSystem(first); err == nil || permanent(err) {
		t.Errorf("back again: %v", err)
	}
}

// TestUnreached: a stream that was to run until a position fails when it is
// stopped before.
func TestUnreached(t *testing.T) {
	if err := testStream().unreached(); err != nil {
		t.Error(err)
	}
	s := testStream(func(c *Config) { c.Until.CaughtUp = true })
	if s.unreached() == nil {
		t.Error("stopped before the connect is success")
	}
	s.target = 0x100
	if err := s.unreached(); err == nil || !strings.Contains(err.Error(), "0/100") {
		t.Error(err)
	}
	s.reached = true
	if err := s.unreached(); err != nil {
		t.Error(err)
	}
}

// TestConnectingEnds: a stream that waits for a server ends at once when it is to
// stop.
func TestConnectingEnds(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelFunc, drain chan struct{}){
		"drain":  func(_ context.CancelFunc, drain chan struct{}) { close(drain) },
		"cancel": func(cancel context.CancelFunc, _ chan struct{}) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			drain := make(chan struct{})
			s := testStream(func(c *Config) { c.Server.DSN = "host=" + t.TempDir() + " user=nobody dbname=postgres" })
			end(cancel, drain)
			if err := s.Run(ctx, drain); name == "drain" && err != nil || name == "cancel" && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}
