package stream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// testBackup is a backup whose chunks stay in the sink's queue.
func testBackup(t *testing.T) (*backup, *backupSender) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &life{name: "base", log: slog.New(slog.DiscardHandler), queue: make(chan outgoing, queueSize(chain.DefaultLimits())), ended: make(chan struct{}), cancel: cancel}
	b := &backup{life: l, ctx: ctx, cancel: cancel, free: make(chan []byte, wire.BackupWindow+1), freed: make(chan struct{}, 1)}
	return b, &backupSender{b: b, ctx: ctx, logged: time.Now()}
}

// chunks takes what is in the queue, as the sender does.
func (b *backup) chunks() (list []*wire.BackupChunk) {
	for len(b.life.queue) > 0 {
		o := <-b.life.queue
		c := o.message.GetBackup()
		list = append(list, &wire.BackupChunk{File: c.File, Size: c.Size, Offset: c.Offset, Mode: c.Mode, Directory: c.Directory, Data: bytes.Clone(c.Data)})
		o.chunk.wasSent(c)
	}
	return list
}

// TestBackupSender: files are cut into chunks that follow each other, whatever the
// pieces in which they come.
func TestBackupSender(t *testing.T) {
	b, s := testBackup(t)
	const size = 2*wire.BackupChunkSize + 1000
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i >> 10)
	}
	err := errors.Join(s.Directory("base", 0o700), s.File("empty", 0, 0o600), s.End(), s.File("base/1", size, 0o640))
	for at := 0; at < size; at += 100_001 {
		err = errors.Join(err, s.Data(content[at:min(at+100_001, size)]))
	}
	if err = errors.Join(err, s.End(), s.Link("pg_tblspc/16400", "/fast"), s.Manifest([]byte("{}"))); err != nil {
		t.Fatal(err)
	}
	list := b.chunks()
	if len(list) != 6 || !list[0].Directory || list[0].Mode != 0o700 || list[1].File != "empty" || list[5].File != "backup_manifest" || string(list[5].Data) != "{}" {
		t.Fatalf("%d chunks: %v", len(list), list)
	}
	var got []byte
	for _, c := range list[2:5] {
		if c.File != "base/1" || c.Size != size || c.Mode != 0o640 || c.Offset != uint64(len(got)) || len(c.Data) > wire.BackupChunkSize {
			t.Errorf("a chunk of %d bytes at %d of %q", len(c.Data), c.Offset, c.File)
		}
		got = append(got, c.Data...)
	}
	if !bytes.Equal(got, content) || b.done.Load() != size+2 {
		t.Errorf("%d bytes came, %d are counted", len(got), b.done.Load())
	}
}

// TestBackupWindow: a sink that takes nothing gets no more than the window, a dead one
// ends the backup, and one that gives back what it was not sent is at fault.
func TestBackupWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := testBackup(t)
		ended := make(chan error, 1)
		go func() {
			for {
				if err := s.Directory("d", 0o700); err != nil {
					ended <- err
					return
				}
			}
		}()
		synctest.Wait()
		if n := len(b.life.queue); n != wire.BackupWindow {
			t.Errorf("%d chunks are on the way", n)
		}
		if err := b.tookChunks(10); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(b.life.queue); n != wire.BackupWindow+10 {
			t.Errorf("%d chunks are on the way after 10 were taken", n)
		}
		if err := b.tookChunks(wire.BackupWindow + 11); err == nil || !permanent(err) {
			t.Errorf("more than was sent is given back: %v", err)
		}
		close(b.life.ended)
		if err := <-ended; !errors.Is(err, errSinkEnded) {
			t.Errorf("the backup ends with %v", err)
		}
	})
}

// TestBackedUp: an answer has to fit what was sent; then the sink is served from the
// backup's start.
func TestBackedUp(t *testing.T) {
	const start = wal.LSN(3<<20 + 40)
	at := func(lsn wal.LSN) *wire.BackupDone { return &wire.BackupDone{Timeline: 1, Lsn: uint64(lsn)} }
	for name, c := range map[string]struct {
		phase int32
		raw   bool
		done  *wire.BackupDone
		ok    bool
	}{
		"records":          {finishing, false, at(start), true},
		"raw":              {finishing, true, at(3 << 20), true},
		"raw in a segment": {finishing, true, at(start), false},
		"elsewhere":        {finishing, false, at(start + 8), false},
		"too soon":         {copying, false, at(start), false},
		"timeline":         {finishing, false, &wire.BackupDone{Timeline: 2, Lsn: uint64(start)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := withChain(testStream(), 1<<20)
			s.sys = replication.System{SystemID: 7, Timeline: 1, SegmentSize: mib}
			b, _ := testBackup(t)
			b.life.wal = c.raw
			b.life.opened = opened{isNew: true, wishes: true}
			b.start.Store(&wal.Position{Timeline: 1, LSN: start})
			b.phase.Store(c.phase)
			if ok := b.endsAt(wal.Position{Timeline: wal.TimelineID(c.done.Timeline), LSN: wal.LSN(c.done.Lsn)}, mib); ok != c.ok {
				t.Errorf("the answer fits: %t", ok)
			}
			if !c.ok {
				return
			}
			k := &s.sinks[1]
			k.life, k.backup = b.life, b
			if err := s.backedUp(t.Context(), 1, c.done); !errors.Is(err, errRewind) { // there is no session
				t.Errorf("the answer: %v", err)
			}
			if o := b.life.opened; o.isNew || o.wishes || o.systemID != 7 || uint64(o.position.LSN) != c.done.Lsn || !k.fresh || k.known != o.position || k.backup != nil || b.ctx.Err() == nil {
				t.Errorf("after the backup: %+v, %+v", o, k)
			}
		})
	}
}

// TestOnlyBeside: a stream that has nobody to serve but sinks that get a backup begins
// at the server's end of WAL, on its timeline.
func TestOnlyBeside(t *testing.T) {
	s := withChain(testStream(), 1<<20)
	s.chain.Detach(0)
	s.from = 1 << 20
	history, err := wal.ParseHistory(2, []byte("1\t0/500000\tno recovery target specified\n"))
	if err != nil {
		t.Fatal(err)
	}
	here := &session{sys: replication.System{Timeline: 2, SegmentSize: mib, FlushLSN: 6 << 20}, history: history}
	for wishes, want := range map[bool]wal.TimelineID{true: 2, false: 1} {
		s.sinks[0].life.opened = opened{isNew: true, wishes: wishes}
		if s.chooseTimeline(here); s.timeline != want {
			t.Errorf("wishes %t: timeline %d, want %d", wishes, s.timeline, want)
		}
	}
	if s.anyBeside() {
		t.Error("nobody is served beside the stream yet")
	}
	s.sinks[0].backup = &backup{}
	if !s.anyBeside() {
		t.Error("a sink gets a backup")
	}
}

// TestBackupStatus tells each phase.
func TestBackupStatus(t *testing.T) {
	b, _ := testBackup(t)
	if st := b.status(); st.Phase != BackupConnecting || st.Start.LSN != 0 || st.Error != "" {
		t.Errorf("%+v", st)
	}
	problem := "refused"
	b.problem.Store(&problem)
	b.start.Store(&wal.Position{Timeline: 1, LSN: 0x100})
	b.phase.Store(finishing)
	b.done.Store(7)
	b.total.Store(9)
	if st := b.status(); st.Phase != BackupFinishing || st.Start.LSN != 0x100 || st.Error != "refused" || st.Done != 7 || st.Total != 9 {
		t.Errorf("%+v", st)
	}
}

// TestUnheld: who keeps the WAL from the backup's start on.
func TestUnheld(t *testing.T) {
	for want, c := range map[string]struct {
		sink   chain.SinkID
		slot   wal.LSN
		change func(*Config)
	}{
		"no slot":      {0, 8, func(c *Config) { c.Slot = "" }},
		"none so far":  {0, 0, func(*Config) {}},
		"not required": {1, 8, func(*Config) {}},
		"":             {0, 8, func(*Config) {}},
	} {
		s := testStream(func(c *Config) { c.Slot = "walplex"; c.Sinks[1].Required = false; c.Sinks[0].Required = true }, c.change)
		if why, remedy := s.unheld(c.sink, &session{slot: c.slot}); !strings.Contains(why, want) || (why == "") != (want == "") || (remedy == "") != (want == "") {
			t.Errorf("%q, %q, want %q", why, remedy, want)
		}
	}
	s := testStream(func(c *Config) { c.Fallbacks = []Fallback{{Archive: "there"}} })
	if why, _ := s.unheld(0, &session{}); why != "" {
		t.Errorf("with a fallback: %s", why)
	}
}

// TestNoBackupOfArchive: a directory gives none.
func TestNoBackupOfArchive(t *testing.T) {
	s := withChain(testStream(func(c *Config) { c.Archive = &archive.Options{} }), 1<<20)
	s.sinks[1].life = nil
	err := s.startBackup(t.Context(), 1, &session{})
	if err != nil || s.sinks[1].off == nil || !strings.Contains(s.sinks[1].off.Error(), "an archive cannot give") {
		t.Errorf("%v, the sink is off: %v", err, s.sinks[1].off)
	}
}
