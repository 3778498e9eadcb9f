package pagestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestLives has stores live through what a sink goes through, at random: records
// come and are committed, with a part of the next one or without; the server is
// promoted, and goes on differently from some record on; history is collected, and
// pages are read, beside all that; the power fails at any write, and a new process
// goes on. All that can be read then is what a store has that was only given the
// WAL of the server's history, and that collects nothing, keeps no page in memory
// and never failed.
func TestLives(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if err := newLives(t, seed).run(60); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		})
	}
}

// lives is one store's, and what it is held against.
type lives struct {
	t   *testing.T
	rng *rand.Rand
	g   *generator
	all *Store // of the history alone
	tli wal.TimelineID

	kind  beginning
	saved []savedAt // of the generator, by the end of a record
	base  backupCopy

	s         *Store
	power     *power
	committed wal.LSN
	horizon   wal.LSN // the greatest that was told
	to        wal.LSN // of a switch that the store may not have made; 0: none
	log       []string

	changes  atomic.Uint64 // odd while a switch is made
	readable sync.RWMutex  // all is read, or made anew
}

type beginning int

const (
	withoutBackup beginning = iota
	emptyBackup
	fuzzyBackup // its pages are as of any moment between its start and its end
)

// backupCopy is a base backup that was taken while records came in.
type backupCopy struct {
	start, end wal.LSN
	pages      map[PageID][]byte
	sizes      map[RelFork]bool
}

// savedAt is what the generator needs to go on otherwise.
type savedAt struct {
	end wal.LSN
	dbs []*genDatabase
	oid uint32
}

func newLives(t *testing.T, seed uint64) *lives {
	l := &lives{t: t, rng: rand.New(rand.NewPCG(seed, 0x6c6976)), g: newGenerator(seed), tli: 1, kind: beginning(seed % 3)}
	l.save()
	return l
}

func (l *lives) save() {
	at := savedAt{end: l.g.w.End(), oid: l.g.oid}
	for _, db := range l.g.dbs {
		d := &genDatabase{oid: db.oid}
		for _, r := range db.rels {
			d.rels = append(d.rels, &genRelation{rel: r.rel, next: append([]uint16(nil), r.next...)})
		}
		at.dbs = append(at.dbs, d)
	}
	l.saved = append(l.saved, at)
}

// write has the server write some records.
func (l *lives) write(n int) {
	for range n {
		before := len(l.g.w.Records())
		l.g.step()
		if len(l.g.w.Records()) > before {
			l.save()
		}
	}
}

// begun makes a store that begins as the history does.
func (l *lives) begun() *Store {
	s, err := Open(l.t.Context(), "/d", Options{FS: vfs.NewMem(), MaxLogFile: 1 << 20, CacheBytes: -1})
	if err != nil {
		l.t.Fatal(err)
	}
	beginAs(l.t, s, l.g.w, l.kind != withoutBackup)
	return s
}

func (l *lives) run(ops int) error {
	l.write(50 + l.rng.IntN(100))
	l.all = l.begun()
	defer func() { closeTest(l.t, l.all) }()
	fillFrom(l.t, l.all, l.g.w, nil)
	if l.kind == fuzzyBackup {
		l.copyPages()
	}
	fs := vfs.NewCrashableMem()
	for fs != nil {
		l.power = &power{fs: fs, rng: rand.New(rand.NewPCG(l.rng.Uint64(), 0)), left: 1 + l.rng.IntN(600)}
		var err error
		if l.s, err = Open(l.t.Context(), "/d", Options{FS: errorfs.Wrap(fs, l.power), MaxLogFile: 32 << 10, CacheBytes: 512 << 10}); err != nil {
			return fmt.Errorf("after %q: %w", l.log, err)
		}
		fs, err = l.live(&ops)
		// It goes on in a file system that nobody will look at again.
		_ = l.s.Close(context.WithoutCancel(l.t.Context()))
		if err != nil {
			return fmt.Errorf("after %q: %w", l.log, err)
		}
	}
	return nil
}

// copyPages takes a base backup from all, each page and size as of some moment.
func (l *lives) copyPages() {
	recs := l.g.w.Records()
	first := l.rng.IntN(len(recs) / 2)
	b := backupCopy{start: recs[first].End, end: recs[first].End, pages: make(map[PageID][]byte), sizes: make(map[RelFork]bool)}
	for _, rec := range records(l.t, l.g.w)[first+1:] {
		if rec.RmgrID == wal.RmgrDatabase || l.rng.IntN(60) == 0 {
			break // as with PostgreSQL, what is copied of a database meanwhile is not what it was
		}
		b.end = rec.EndLSN
	}
	forks := make(map[string]RelFork)
	moment := func() wal.LSN { return b.start + wal.LSN(l.rng.Uint64N(uint64(b.end-b.start)+1)) }
	for _, at := range []wal.LSN{b.start, moment(), b.end} {
		if _, err := l.all.EachFork(l.t.Context(), at, nil, func(f RelFork) error {
			forks[fmt.Sprint(f.Rel, f.Fork)] = f
			return nil
		}); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, f := range forks {
		n, _, err := l.all.RelSize(l.t.Context(), f.Rel, f.Fork, moment())
		if err != nil {
			continue // not yet, or not any more
		}
		f.Blocks = n
		b.sizes[f] = true
		for block := range n {
			id := PageID{Rel: f.Rel, Fork: f.Fork, Block: block}
			if a, err := l.all.ReadPage(l.t.Context(), id, moment()); err == nil {
				b.pages[id] = a.Page
			}
		}
	}
	l.base = b
}

func (l *lives) begin() error {
	s, start := l.s, l.g.w.Options().Start
	switch l.kind {
	case withoutBackup:
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start)
		return nil
	case fuzzyBackup:
		start = l.base.start
	default:
		l.base.end = start
	}
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		return err
	}
	for id, page := range l.base.pages {
		if err := s.ImportPages(id.Rel, id.Fork, id.Block, page); err != nil {
			return err
		}
	}
	for f := range l.base.sizes {
		if err := s.ImportFork(f.Rel, f.Fork, f.Blocks); err != nil {
			return err
		}
	}
	return s.EndImport(l.t.Context(), l.base.end)
}

// live goes on until the power fails, and answers the file system after that, nil
// at the end of all.
func (l *lives) live(ops *int) (*vfs.MemFS, error) {
	s := l.s
	if st := s.State(); st.Position < l.committed && (l.to == 0 || st.Position < l.to) || l.committed > 0 && s.New() || st.Horizon < l.horizon {
		return nil, fmt.Errorf("position %s and horizon %s after a crash, there were %s and %s", st.Position, st.Horizon, l.committed, l.horizon)
	}
	l.note("open %d", s.State().Timeline)
	if s.New() {
		if err := l.begin(); err != nil {
			return nil, err
		}
		if l.power.failed() == nil && l.kind != withoutBackup {
			l.committed = s.State().Position
		}
	}
	done := make(chan struct{})
	var beside sync.WaitGroup
	defer beside.Wait()
	defer close(done)
	seed := l.rng.Uint64()
	if l.to != 0 {
		l.changes.Add(1)
	}
	for n := range uint64(2) {
		beside.Go(func() { l.reads(rand.New(rand.NewPCG(seed, n)), s, done) })
	}
	if l.to != 0 {
		err := l.goOver()
		l.changes.Add(1)
		if err != nil {
			return nil, err
		}
	}
	for ; *ops > 0; *ops-- {
		if fs := l.power.failed(); fs != nil {
			l.note("power")
			return fs, nil
		}
		var err error
		switch n := l.rng.IntN(20); {
		case n < 12:
			err = l.commit()
		case n < 14:
			err = l.collect()
		case n == 14:
			beside.Go(func() {
				_, err := s.Collect(l.t.Context(), CollectOptions{Retain: 5000, MaxReplay: 5})
				if err != nil && !errors.Is(err, ErrClosed) {
					l.t.Error(err)
				}
			})
		case n < 17:
			err = l.promote()
		default:
			err = l.check()
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, l.check()
}

func (l *lives) note(format string, args ...any) {
	l.log = append(l.log, fmt.Sprintf(format, args...))
	if len(l.log) > 12 {
		l.log = l.log[1:]
	}
}

// commit stores some records. What the server wrote of the next one may be known.
func (l *lives) commit() error {
	l.readable.Lock()
	l.write(1 + l.rng.IntN(60))
	fillFrom(l.t, l.all, l.g.w, nil)
	l.readable.Unlock()
	at := l.s.State().Position
	recs, last := records(l.t, l.g.w), at
	valid := at
	part := l.rng.IntN(3) == 0
	for i := range recs {
		if recs[i].EndLSN <= at || recs[i].StartLSN < l.base.start {
			continue
		}
		if part && l.rng.IntN(len(recs)-i+1) == 0 || part && i == len(recs)-1 {
			valid = last + wal.LSN(l.rng.Uint64N(uint64(recs[i].EndLSN-last)))
			break
		}
		if err := l.s.Append(&recs[i]); err != nil {
			return err
		}
		last, valid = recs[i].EndLSN, recs[i].EndLSN
	}
	l.note("commit %s valid %s", last, valid)
	if err := l.s.Commit(l.t.Context(), Progress{Position: last, LastValid: valid}); err != nil {
		return err
	}
	if l.power.failed() == nil {
		l.committed = last
	}
	return nil
}

func (l *lives) collect() error {
	done, err := l.s.Collect(l.t.Context(), CollectOptions{Retain: uint64(1 + l.rng.IntN(6000)), MaxReplay: 1 + l.rng.IntN(10)})
	l.note("collect %s", done.Horizon)
	if err == nil && l.power.failed() == nil {
		l.horizon = done.Horizon
	}
	return err
}

// promote lets the server go on from some record on, otherwise.
func (l *lives) promote() error {
	st := l.s.Visible()
	var from []savedAt
	for _, at := range l.saved {
		if at.end >= max(st.Horizon, l.base.end) && at.end+3000 >= st.Position {
			from = append(from, at)
		}
	}
	if len(from) == 0 {
		return nil
	}
	at := from[l.rng.IntN(len(from))]
	if l.rng.IntN(2) == 0 {
		// What was the last record that came is the last one at all, often.
		for i := range from {
			if from[i].end <= st.Position {
				at = from[i]
			}
		}
	}
	l.changes.Add(1)
	defer l.changes.Add(1)
	l.readable.Lock()
	l.tli++
	l.g.w = l.g.w.Branch(l.tli, at.end)
	for len(l.saved) > 0 && l.saved[len(l.saved)-1].end >= at.end {
		l.saved = l.saved[:len(l.saved)-1]
	}
	l.g.dbs, l.g.oid = at.dbs, l.g.oid+1
	l.save()
	closeTest(l.t, l.all)
	l.all = l.begun()
	fillFrom(l.t, l.all, l.g.w, nil)
	l.readable.Unlock()
	l.to = at.end
	return l.goOver()
}

// goOver tells the store of the switch.
func (l *lives) goOver() error {
	l.note("switch to %d at %s", l.tli, l.to)
	err := l.s.Rewind(l.t.Context(), l.tli, l.to)
	if l.power.failed() != nil {
		return nil
	}
	if errors.Is(err, ErrBelowHorizon) {
		return fmt.Errorf("horizon %s: %w", l.s.Visible().Horizon, err)
	}
	l.committed, l.to = min(l.committed, l.to), 0
	return err
}

// same compares one read, unless the store cannot say or has gone on meanwhile.
func (l *lives) same(s *Store, id PageID, lsn wal.LSN) error {
	l.readable.RLock()
	defer l.readable.RUnlock()
	before := l.changes.Load()
	how, page := outcome(l.t.Context(), s, id, lsn)
	if before%2 == 1 || l.changes.Load() != before || how == ErrBelowHorizon.Error() || how == ErrNotReached.Error() {
		return nil
	}
	want, wantPage := outcome(l.t.Context(), l.all, id, lsn)
	if (page != nil || wantPage != nil || how != want) && !bytes.Equal(page, wantPage) {
		return fmt.Errorf("%s as of %s: %s, want %s", id, lsn, how, want)
	}
	return nil
}

// reads reads beside all else, mostly as of now.
func (l *lives) reads(rng *rand.Rand, s *Store, done chan struct{}) {
	for !isClosed(done) {
		l.readable.RLock()
		ids := make([]PageID, 0, len(l.g.pages))
		for id := range l.g.pages {
			ids = append(ids, id)
		}
		l.readable.RUnlock()
		for range 50 {
			st := s.Visible()
			if st.SystemID == 0 || st.LastValid < st.Horizon || len(ids) == 0 || isClosed(done) {
				break
			}
			lsn := st.LastValid
			if rng.IntN(3) == 0 {
				lsn = st.Horizon + wal.LSN(rng.Uint64N(uint64(st.LastValid-st.Horizon)+1))
			}
			if l.power.failed() != nil {
				return
			}
			id := ids[rng.IntN(len(ids))]
			if err := l.same(s, id, lsn); err != nil && l.power.failed() == nil && l.changes.Load()%2 == 0 {
				l.t.Error("beside all else: ", err)
				return
			}
		}
	}
}

// check compares reads of all pages at some LSNs, sizes, and what is counted.
func (l *lives) check() error {
	st := l.s.Visible()
	if st.SystemID == 0 || st.LastValid < st.Horizon {
		return nil
	}
	for _, lsn := range []wal.LSN{st.Horizon, st.Horizon + wal.LSN(l.rng.Uint64N(uint64(st.LastValid-st.Horizon)+1)), st.LastValid} {
		for id := range l.g.pages {
			if err := l.same(l.s, id, lsn); err != nil {
				return err
			}
		}
		got, err := forksOf(l.t.Context(), l.s, lsn)
		if errors.Is(err, ErrBelowHorizon) {
			continue
		}
		want, wantErr := forksOf(l.t.Context(), l.all, lsn)
		if err != nil || wantErr != nil || got != want {
			return fmt.Errorf("as of %s there is\n%s, want\n%s\n%v, %v", lsn, got, want, err, wantErr)
		}
	}
	l.s.images.mu.Lock()
	defer l.s.images.mu.Unlock()
	return checkImages(l.s)
}
