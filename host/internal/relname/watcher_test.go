package relname_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/host/internal/relname"
	"github.com/walplex/walplex/sdk/wal"
)

// compile compiles a filter.
func compile(t *testing.T, expression string) *filter.Filter {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.hcl")
	text := "stream \"s\" {\n  postgres { dsn = \"host=x\" }\n  sink \"audit\" \"a\" { filter = " + expression + " }\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, diags := config.Load([]string{file}, config.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	f, problems := filter.Compile(cfg.Streams[0].Sinks[0].Filter)
	if f == nil {
		t.Fatal(problems)
	}
	return f
}

// scripted is a catalog whose answers a test sets.
type scripted struct {
	mu    sync.Mutex
	files map[string]wal.RelFileLocator
	err   error
	asked []time.Time
}

func (s *scripted) Relation(_ context.Context, database, schema, name string) (wal.RelFileLocator, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	file, ok := s.files[strings.Trim(database+"."+schema+"."+name, ".")]
	switch {
	case s.err != nil:
		return file, "", s.err
	case !ok:
		return file, "there is no such relation", nil
	}
	return file, "", nil
}

func (s *scripted) Close(context.Context) {}

func (s *scripted) set(change func(s *scripted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// looks is how often it was asked, and forgets it.
func (s *scripted) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.asked)
	s.asked = nil
	return n
}

// syncBuffer is a log that a test reads while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func picks(f *filter.Filter, file wal.RelFileLocator) bool {
	return f.Match(&wal.Record{Version: wal.PG15, RmgrID: wal.RmgrHeap, Blocks: []wal.BlockRef{{Rel: file}}})
}

// A commit that becomes visible late is found, and asking has an end.
func TestRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := compile(t, `record.relation == "public.orders"`)
		was, now := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 100}, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 200}
		cat := &scripted{files: map[string]wal.RelFileLocator{"public.orders": was}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var log syncBuffer
		w := relname.New(f.Names(), cat, slog.New(slog.NewTextHandler(&log, nil)))
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		synctest.Wait()
		if !picks(f, was) || picks(f, now) || cat.looks() != 1 {
			t.Fatal("the first look did not find the file")
		}
		for range relname.Refresh / time.Second {
			advance(time.Second)
		}
		if n := cat.looks(); n != 1 {
			t.Errorf("%d looks in a quiet time of %s", n, relname.Refresh)
		}
		create := &wal.Record{Version: wal.PG15, RmgrID: wal.RmgrStorage, Info: 0x10, XID: 731}
		f.Match(create)
		advance(2 * time.Second) // the transaction runs
		if n := cat.looks(); n < 4 || n > 10 {
			t.Errorf("%d looks in the 2 s after the file was made", n)
		}
		advance(time.Minute)
		if n := cat.looks(); n < 10 || n > 20 {
			t.Errorf("%d looks in the minute after", n)
		}
		f.Match(&wal.Record{Version: wal.PG15, RmgrID: wal.RmgrTransaction, XID: 731})
		advance(300 * time.Millisecond) // not visible yet
		cat.set(func(s *scripted) { s.files["public.orders"] = now })
		advance(time.Second)
		if !picks(f, now) || !picks(f, was) {
			t.Error("a second after its commit is visible the new file is not picked, or the old one no more")
		}
		cat.looks()
		advance(relname.Settle)
		settling := cat.looks()
		advance(relname.Refresh)
		if n := cat.looks(); settling < 100 || n > 2 {
			t.Errorf("%d looks while it settles, %d after it", settling, n)
		}
		if strings.Count(log.String(), "picks a relation by its file") != 2 || !strings.Contains(log.String(), "file=1663/5/200") {
			t.Errorf("the log says\n%s", &log)
		}
		second := make(chan bool)
		go func() { second <- w.Look(t.Context()) }()
		synctest.Wait()
		select {
		case <-second:
			t.Error("two look at once")
		default:
		}
		cancel()
		<-done
		if !<-second {
			t.Error("a look after the end of Run has failed")
		}
	})
}

// advance lets time pass.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// However many files are made, the server is asked ten times a second at most.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := compile(t, `record.relation == "public.orders"`)
		cat := &scripted{}
		ctx, cancel := context.WithCancel(t.Context())
		w := relname.New(f.Names(), cat, slog.New(slog.DiscardHandler))
		done := make(chan struct{})
		go func() { w.Run(ctx); close(done) }()
		for i := range 1000 {
			f.Match(&wal.Record{Version: wal.PG15, RmgrID: wal.RmgrStorage, Info: 0x10, XID: wal.XID(700 + i)})
			advance(10 * time.Millisecond)
		}
		if n := cat.looks(); n < 50 || n > 101 {
			t.Errorf("%d looks in 10 s", n)
		}
		cancel()
		<-done
	})
}

// A name without a file, and a server that cannot be asked, are said once.
func TestSaid(t *testing.T) {
	f := compile(t, `record.relation == "public.orders" || record.relation == "shop.public.items"`)
	var log syncBuffer
	cat := &scripted{files: map[string]wal.RelFileLocator{"shop.public.items": {Spc: 1663, DB: 6, Rel: 100}}}
	w := relname.New(f.Names(), cat, slog.New(slog.NewTextHandler(&log, nil)))
	said := func(want string, times int) {
		t.Helper()
		if n := strings.Count(log.String(), want); n != times {
			t.Errorf("%q is said %d times, want %d:\n%s", want, n, times, &log)
		}
	}
	for range 3 {
		if !w.Look(t.Context()) {
			t.Error("a look that worked has failed")
		}
	}
	said("relation=public.orders reason=\"there is no such relation\"", 1)
	said("relation=shop.public.items file=1663/6/100", 1)
	if !picks(f, wal.RelFileLocator{Spc: 1663, DB: 6, Rel: 100}) {
		t.Error("a name without a file keeps another from being looked up")
	}
	cat.err = errors.New("refused")
	for range 3 {
		if w.Look(t.Context()) {
			t.Error("a look that failed has worked")
		}
	}
	said("cannot be looked up", 1)
	cat.err, cat.files["public.orders"] = nil, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 7}
	w.Look(t.Context())
	said("can be looked up again", 1)
	said("relation=public.orders file=1663/5/7", 1)
}
