package pagecache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// lineage is a cluster that is promoted again and again: element i is the WAL of
// timeline i+1, with what it shares with those before.
type lineage struct {
	wal      []*waltest.Writer
	switches []wal.LSN // at i, where timeline i+1 was left for i+2
}

// promoted makes a lineage of n timelines.
func promoted(rnd *rand.Rand, n, size int) *lineage {
	w := waltest.Random(rnd.Uint64(), waltest.Options{}, size)
	l := &lineage{wal: []*waltest.Writer{w}}
	begin := 1 // records shared with the timeline before
	for tli := wal.TimelineID(2); int(tli) <= n; tli++ {
		recs := w.Records()
		at := len(recs)
		if rnd.IntN(4) > 0 {
			at = begin + rnd.IntN(len(recs)-begin+1)
		}
		l.switches = append(l.switches, recs[at-1].End)
		w = w.Branch(tli, recs[at-1].End)
		w.AppendRandom(rnd.Uint64(), size/n)
		l.wal = append(l.wal, w)
		begin = at
	}
	return l
}

// epoch is the last switch on the way to tli, with its history file.
func (l *lineage) epoch(tli wal.TimelineID) *sdk.Epoch {
	e := &sdk.Epoch{OldTimeline: tli - 1, NewTimeline: tli, HistoryFile: wal.HistoryFileName(tli), SwitchLSN: l.switches[tli-2]}
	for i, lsn := range l.switches[:tli-1] {
		e.History = fmt.Appendf(e.History, "%d\t%s\tno recovery target specified\n", i+1, lsn)
	}
	return e
}

// promotion is a life of the sink after life, while the cluster is promoted.
type promotion struct {
	t       *testing.T
	rnd     *rand.Rand
	line    *lineage
	tli     wal.TimelineID // of the server
	fs      *vfs.MemFS
	power   *power
	flushed wal.LSN // the greatest position that was reported and was not taken back
	session *sinktest.Session
	sink    *sink
}

func (p *promotion) server() *waltest.Writer { return p.line.wal[p.tli-1] }

// open begins a life and checks what it finds.
func (p *promotion) open(ctx context.Context) error {
	p.power = &power{fs: p.fs, rnd: rand.New(rand.NewPCG(p.rnd.Uint64(), 0)), left: 1 + p.rnd.IntN(80)}
	p.sink = newSink(&Config{Directory: "/d/pages", Listen: shortDir(p.t) + "/s"}, errorfs.Wrap(p.fs, p.power))
	p.sink.maxLogFile = testLogFile
	sys := testSystem
	sys.Timeline = p.tli
	var err error
	p.session, err = sinktest.OpenSink(ctx, Definition(), p.sink, sys, sinktest.Options{Start: p.server().Options().Start})
	if err != nil {
		return err
	}
	at := p.session.Result()
	if at.New {
		if p.flushed > 0 {
			return fmt.Errorf("nothing is held after a crash, but %s was reported flushed", p.flushed)
		}
		return nil
	}
	least := p.flushed
	for _, lsn := range p.line.switches[:at.Position.Timeline-1] {
		least = min(least, lsn)
	}
	// An interrupted rewind has gone back on the old timeline already.
	for tli := at.Position.Timeline; tli < p.tli; tli++ {
		least = min(least, p.line.switches[tli-1])
	}
	if at.Position.LSN < least {
		return fmt.Errorf("position %s after a crash, but %s was reported flushed", at.Position, least)
	}
	p.flushed = at.Position.LSN
	if err := modelOf(p.t, p.line.wal[at.Position.Timeline-1]).checkAll(ctx, p.sink.store, at.Position.LSN); err != nil {
		return fmt.Errorf("opened at %s: %w", at.Position, err)
	}
	if at.Position.Timeline < p.tli {
		return p.follow(ctx, at.Position.Timeline)
	}
	return nil
}

// follow tells the sink of the switches from tli on, one by one or the last alone,
// and some of them again.
func (p *promotion) follow(ctx context.Context, tli wal.TimelineID) error {
	for next := tli + 1; next <= p.tli; next++ {
		if p.rnd.IntN(2) == 0 {
			next = p.tli
		}
		for range 1 + p.rnd.IntN(2) {
			e := p.line.epoch(next)
			lsn, err := p.session.Epoch(ctx, e)
			if p.power.failed() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			st := p.sink.store.Visible()
			if lsn > e.SwitchLSN || lsn < min(p.flushed, e.SwitchLSN, p.line.switches[tli-1]) || p.sink.Applied() != lsn || st.Timeline != next || st.LastValid > e.SwitchLSN {
				return fmt.Errorf("rewound to %s for %+v, readers see %+v", lsn, e, st)
			}
			p.flushed = lsn
		}
	}
	return nil
}

// live delivers WAL, with flushes and promotions in between, until the power fails
// or there is no more.
func (p *promotion) live(ctx context.Context) error {
	for p.power.failed() == nil && (p.session.Next() < p.server().End() || int(p.tli) < len(p.line.wal)) {
		w := p.server()
		to := min(p.session.Next()+wal.LSN(1+p.rnd.IntN(40<<10)), w.End())
		start := w.Options().Start
		var lsn wal.LSN
		var err error
		switch {
		case !p.sink.store.New() && int(p.tli) < len(p.line.wal) && (p.session.Next() == w.End() || p.rnd.IntN(10) == 0):
			p.tli++
			err = p.follow(ctx, p.tli-1)
		case p.rnd.IntN(3) == 0:
			lsn, err = p.session.Flush(ctx)
		default:
			err = p.session.Deliver(ctx, w.Bytes()[p.session.Next()-start:to-start])
		}
		if p.power.failed() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		p.flushed = max(p.flushed, lsn)
	}
	lsn, err := p.session.Flush(ctx)
	if p.power.failed() == nil {
		p.flushed = lsn
		return err
	}
	return nil
}

func (p *promotion) run(ctx context.Context) error {
	for {
		if p.rnd.IntN(4) == 0 && int(p.tli) < len(p.line.wal) {
			p.tli++
		}
		if err := p.open(ctx); err != nil {
			return err
		}
		if p.power.failed() == nil {
			if err := p.live(ctx); err != nil {
				return err
			}
		}
		p.fs = p.power.failed()
		if p.fs == nil {
			if p.flushed != p.server().End() {
				return fmt.Errorf("flushed %s in the end, want %s", p.flushed, p.server().End())
			}
			if err := modelOf(p.t, p.server()).checkAll(ctx, p.sink.store, p.flushed); err != nil {
				return err
			}
		}
		_ = p.session.Close(context.WithoutCancel(ctx))
		if p.fs == nil {
			return nil
		}
	}
}

// TestPromotions lets a sink follow promotions at random places while the power
// fails again and again: pages are those of the history that survives.
func TestPromotions(t *testing.T) {
	for seed := range uint64(crashSeeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0x70726f6d))
			p := &promotion{t: t, rnd: rnd, line: promoted(rnd, 2+rnd.IntN(3), 200<<10), tli: 1, fs: vfs.NewCrashableMem()}
			if err := p.run(t.Context()); err != nil {
				t.Fatalf("seed %d, switches at %v: %v", seed, p.line.switches, err)
			}
		})
	}
}

// TestRewind reads from a cache over a promotion.
func TestRewind(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, first := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 1)))
	_, second := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 2)))
	b := w.Branch(2, first)
	b.LogicalMessage("m", 12000)
	_, image := b.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 3)))

	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	client := l.client()
	l.all()
	ahead := make(chan *pagepb.GetPageResponse, 1)
	go func() {
		res, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: image, Wait: time.Minute})
		if err != nil {
			t.Error(err)
		}
		ahead <- res
	}()
	waiting(t, l, 1)
	e := &sdk.Epoch{OldTimeline: 1, SwitchLSN: first, NewTimeline: 2}
	for range 2 { // the second time as after an answer that was lost
		if lsn, err := l.Epoch(t.Context(), e); err != nil || lsn != first || l.sink.Applied() != first {
			t.Fatalf("rewound to %s, applied %s: %v", lsn, l.sink.Applied(), err)
		}
	}
	st, err := client.Status(t.Context())
	if err != nil || st.Timeline != 2 || st.FlushedLsn != uint64(first) || st.LastValidLsn != uint64(first) || st.LastRecordLsn != uint64(first) {
		t.Fatalf("%v, %v", st, err)
	}
	// What was there on the old timeline is not there any more.
	_, err = client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: second, Wait: 10 * time.Millisecond})
	wantCode(t, err, codes.DeadlineExceeded, "WAL was received up to "+first.String()+" on timeline 2, not up to "+second.String())
	res, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel})
	if err != nil || res.GetImage().GetEndLsn() != uint64(first) {
		t.Fatalf("%v", err)
	}
	l.w = b
	l.all()
	if res := <-ahead; res.GetImage().GetEndLsn() != uint64(image) {
		t.Error("a read that waited on the old timeline got another page than the new timeline's")
	}
	res, err = client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: second})
	if err != nil || res.GetImage().GetEndLsn() != uint64(first) {
		t.Fatalf("at an LSN that was taken back and came again: %v", err)
	}
}

// TestRewindLargeRecord is promoted in the middle of a record in fragments, and
// behind it.
func TestRewindLargeRecord(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, before := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 1)))
	start, end := w.Append(largeCommit(testRel, 5<<20)) // of 20 MiB
	for name, held := range map[string]wal.LSN{"in it": start + 18<<20, "behind it": end} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewMem()
			b := w.Branch(2, before)
			_, after := b.Append(waltest.Commit(702, time.Unix(0, 0)))
			_, dropped := b.Append(largeCommit(testRel, 5<<20))
			l := begin(t, fsys, "/pages", w)
			l.deliver(held)
			l.flush()
			if lsn, err := l.Epoch(t.Context(), &sdk.Epoch{OldTimeline: 1, SwitchLSN: before, NewTimeline: 2}); err != nil || lsn != before {
				t.Fatalf("rewound to %s, %v", lsn, err)
			}
			l.w = b
			l.all()
			if st := l.sink.store.Visible(); st.Position != dropped || st.LastRecord != dropped {
				t.Errorf("at %+v", st)
			}
			if _, err := l.sink.store.ReadPage(t.Context(), pagestore.PageID{Rel: testRel}, after); err != nil {
				t.Error(err)
			}
			if _, err := l.sink.store.ReadPage(t.Context(), pagestore.PageID{Rel: testRel}, dropped); !errors.Is(err, pagestore.ErrNotFound) {
				t.Errorf("after the drop: %v", err)
			}
			l.close()
		})
	}
}

// TestRewindNew is a switch that a cache meets which holds nothing.
func TestRewindNew(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 100<<10)
	at := w.Records()[20].End
	b := w.Branch(2, at)
	b.AppendRandom(2, 50<<10)
	fsys := vfs.NewMem()
	l := begin(t, fsys, "/pages", w)
	if lsn, err := l.Epoch(t.Context(), &sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2}); err != nil || lsn != at {
		t.Fatalf("rewound to %s, %v", lsn, err)
	}
	l.close()
	l = begin(t, fsys, "/pages", b)
	defer l.close()
	if got := l.Result(); got.New || got.Position != (wal.Position{Timeline: 2, LSN: at}) {
		t.Fatalf("opened at %+v", got)
	}
	if st := l.sink.store.State(); st.Horizon != at {
		t.Errorf("%+v", st)
	}
}

func TestRewindRefuses(t *testing.T) {
	w := waltest.Random(1, waltest.Options{Timeline: 3}, 100<<10)
	for name, c := range map[string]struct {
		system uint64
		e      sdk.Epoch
	}{
		"an older timeline":             {0, sdk.Epoch{OldTimeline: 3, SwitchLSN: w.End(), NewTimeline: 2}},
		"a timeline of other ancestors": {0, sdk.Epoch{OldTimeline: 4, SwitchLSN: w.End(), NewTimeline: 5, History: []byte("4\t0/5000000\tx\n")}},
		"another cluster":               {5, sdk.Epoch{OldTimeline: 3, SwitchLSN: w.End(), NewTimeline: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewMem()
			open := func(sys sdk.System) *sinktest.Session {
				s, err := sinktest.OpenSink(t.Context(), Definition(), newSink(&Config{Directory: "/pages", Listen: shortDir(t) + "/s"}, fsys), sys,
					sinktest.Options{Start: w.Options().Start})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			sys := testSystem
			sys.Timeline = 3
			s := open(sys)
			if err := s.Deliver(t.Context(), w.Bytes()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.system != 0 {
				if err := s.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				sys.ID = c.system
				s = open(sys)
			}
			if _, err := s.Epoch(t.Context(), &c.e); !sdk.IsPermanent(err) {
				t.Errorf("%v", err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			sys.ID = testSystem.ID
			s = open(sys)
			if got := s.Result().Position; got != (wal.Position{Timeline: 3, LSN: w.End()}) {
				t.Errorf("at %s", got)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRewindBeforeBackup says to a person that a cache whose base backup is of what
// the new timeline does not have is of no more use: trying again does not help.
func TestRewindBeforeBackup(t *testing.T) {
	s := newSink(&Config{Directory: "/pages", Listen: shortDir(t) + "/s", BaseBackup: true}, vfs.NewMem())
	if _, err := s.Open(t.Context(), &sdk.OpenRequest{System: testSystem}); err != nil {
		t.Fatal(err)
	}
	importBackup(t, s, nil, 0x200028, 0x200100, 1)
	lsn, err := s.Rewind(t.Context(), &sdk.Epoch{OldTimeline: 1, SwitchLSN: 0x200080, NewTimeline: 2, History: []byte("1\t0/200080\tx\n")})
	if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), "0/200080 lies before 0/200100") || !strings.Contains(err.Error(), "use an empty directory") {
		t.Errorf("%s, %v", lsn, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
