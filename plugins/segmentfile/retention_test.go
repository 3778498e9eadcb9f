package segmentfile_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// keeping is a sink with a retention whose rounds are those of Retain, and what it
// logs.
type keeping struct {
	*life
	log *lines
}

// lines is a log that several may write.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

// withLog opens a sink with a log.
type withLog struct {
	*segmentfile.Sink
	log *slog.Logger
}

func (l withLog) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	of := *req
	of.Logger = l.log
	return l.Sink.Open(ctx, &of)
}

func startKeeping(t *testing.T, disk durable.FS, w *waltest.Writer, c *segmentfile.Config) *keeping {
	t.Helper()
	k := &keeping{log: new(lines)}
	sink := segmentfile.Inline(segmentfile.New(c, disk))
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), withLog{sink, slog.New(slog.NewTextHandler(k.log, nil))}, system(),
		sinktest.Options{Start: w.Options().Start, LockWait: 1})
	must(t, err)
	k.life = &life{session, sink, t}
	return k
}

func (k *keeping) retain(lsn wal.LSN) {
	k.t.Helper()
	must(k.t, k.sink.Retain(k.t.Context(), wal.Position{Timeline: 1, LSN: lsn}))
}

// keeps asserts the files of the archive.
func keeps(t *testing.T, disk durable.FS, want ...string) {
	t.Helper()
	if got := names(t, disk); got != strings.Join(want, " ") {
		t.Errorf("the archive has\n%s\nwant\n%s", got, strings.Join(want, " "))
	}
}

func withRetention(r segmentfile.Retention) *segmentfile.Config {
	c := config(archive)
	c.Retention = &r
	return c
}

const mib = int64(segSize)

// seg is the start of segment no, and what lies n bytes behind.
func seg(no wal.SegNo, n wal.LSN) wal.LSN { return segSize.LSN(no) + n }

// TestRetention: nothing goes before others have told what they need, then what the
// rule and they allow, and never what the archive itself needs.
func TestRetention(t *testing.T) {
	disk, w := crashfs.New(), source(5000) // segments 1 to 5 and a part of 6
	k := startKeeping(t, disk, w, withRetention(segmentfile.Retention{Size: 3 * mib}))
	k.mustDeliver(w, w.End())
	k.mustFlush()
	all := []string{name(seg(1, 0)), name(seg(2, 0)), name(seg(3, 0)), name(seg(4, 0)), name(seg(5, 0)), name(seg(6, 0)) + ".partial"}
	keeps(t, disk, all...)
	k.retain(0)
	keeps(t, disk, all...)
	k.retain(seg(2, 100))
	keeps(t, disk, all[1:]...)
	if n := k.log.count("takes more than its retention's size"); n != 1 {
		t.Errorf("said %d times that it is too large", n)
	}
	k.retain(seg(1, 0)) // somebody came back
	keeps(t, disk, all[1:]...)
	k.retain(seg(6, 1))
	keeps(t, disk, all[3:]...)
	if k.log.count("WAL was removed from the archive") != 2 || k.log.count("removed_total=3") != 1 || k.log.count("bytes_total=3145728") != 1 {
		t.Errorf("the log: %s", k.log.text.String())
	}
	must(t, k.Close(t.Context()))

	k = startKeeping(t, disk, w, withRetention(segmentfile.Retention{Size: 1}))
	if k.position() != w.End() {
		t.Errorf("position %s, want %s", k.position(), w.End())
	}
	k.retain(w.End())
	keeps(t, disk, all[4:]...) // its last finished segment stays
	must(t, k.Close(t.Context()))
}

// Without the block, or for an archive of another cluster, nothing is removed.
func TestNoRetention(t *testing.T) {
	disk, w := crashfs.New(), source(4000)
	l := mustStart(t, disk, w)
	l.mustDeliver(w, w.End())
	l.mustFlush()
	must(t, l.sink.Retain(t.Context(), wal.Position{Timeline: 1, LSN: w.End()}))
	must(t, l.Close(t.Context()))
	before := names(t, disk)
	sink := segmentfile.Inline(segmentfile.New(withRetention(segmentfile.Retention{Size: 1}), disk))
	sys := system()
	sys.ID++
	_, err := sink.Open(t.Context(), &sdk.OpenRequest{System: sys, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, sink.Retain(t.Context(), wal.Position{Timeline: 1, LSN: w.End()}))
	must(t, sink.Close(t.Context()))
	keeps(t, disk, before)
}

// A dry run says what would go, once, and removes nothing.
func TestRetentionDryRun(t *testing.T) {
	disk, w := crashfs.New(), source(4000)
	k := startKeeping(t, disk, w, withRetention(segmentfile.Retention{Size: 1, DryRun: true}))
	k.mustDeliver(w, w.End())
	k.mustFlush()
	before := names(t, disk)
	k.retain(w.End())
	k.retain(w.End())
	keeps(t, disk, before)
	if k.log.count("WAL would be removed") != 1 || k.log.count("first="+name(seg(1, 0))+" last="+name(seg(3, 0))) != 1 {
		t.Errorf("the log: %s", k.log.text.String())
	}
	must(t, k.Close(t.Context()))
}

// What a backup needs stays, and all stays where the backup is not known.
func TestRetentionBackup(t *testing.T) {
	disk, w := crashfs.New(), source(6000)
	const file = "000000010000000000000003.00000028.backup"
	for _, c := range []struct {
		backup string
		first  wal.SegNo
		warns  int
	}{{"weekly", 1, 1}, {"newest:2", 1, 1}, {"newest:1", 3, 0}, {"nightly", 3, 0}} {
		k := startKeeping(t, disk, w, withRetention(segmentfile.Retention{Backup: c.backup}))
		if k.Result().New {
			k.mustDeliver(w, w.End())
			k.mustFlush()
			put(t, disk, file, []byte("START WAL LOCATION: 0/300028 (file 000000010000000000000003)\nLABEL: nightly\n"))
		}
		k.retain(w.End())
		k.retain(w.End())
		if got := strings.Fields(names(t, disk))[0]; got != name(seg(c.first, 0)) || k.log.count("cannot remove WAL") != c.warns {
			t.Errorf("backup %s: the first is %s; the log: %s", c.backup, got, k.log.text.String())
		}
		must(t, k.Close(t.Context()))
	}
	if !strings.Contains(names(t, disk), file) {
		t.Error("the backup history file is gone")
	}
}

// Age counts from when a segment's file was written; the metrics tell of it.
func TestRetentionAge(t *testing.T) {
	dir, w := filepath.Join(t.TempDir(), "a"), source(4000)
	sink := segmentfile.Inline(segmentfile.New(&segmentfile.Config{Directory: dir, Compression: "lz4", Retention: &segmentfile.Retention{Age: "7d"}}, durable.OS{}))
	session, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, system(), sinktest.Options{Start: w.Options().Start})
	must(t, err)
	must(t, session.Deliver(t.Context(), until(w, w.End())))
	first, second := filepath.Join(dir, name(seg(1, 0))+".lz4"), filepath.Join(dir, name(seg(2, 0))+".lz4")
	must(t, os.Chtimes(first, time.Time{}, time.Now().Add(-8*24*time.Hour)))
	must(t, os.Chtimes(second, time.Time{}, time.Now().Add(-6*24*time.Hour)))
	must(t, sink.Retain(t.Context(), wal.Position{Timeline: 1, LSN: w.End()}))
	if _, err := os.Stat(first); !os.IsNotExist(err) {
		t.Error("the old one is there", err)
	}
	if _, err := os.Stat(second); err != nil {
		t.Error(err)
	}
	must(t, session.Close(t.Context()))
}

// A record that takes several segments is kept from its start as long as it may be
// needed to find the position.
func TestRetentionLongRecord(t *testing.T) {
	disk, w := crashfs.New(), source(1500)
	w.LogicalMessage("long", 3<<20) // from segment 2 to 5
	end := w.End()
	k := startKeeping(t, disk, w, withRetention(segmentfile.Retention{Size: 1}))
	k.mustDeliver(w, end)
	k.mustFlush()
	k.retain(end)
	keeps(t, disk, name(seg(2, 0)), name(seg(3, 0)), name(seg(4, 0)), name(seg(5, 0))+".partial")
	must(t, k.Close(t.Context()))
	k = startKeeping(t, disk.Kill(), w, config(archive))
	if k.position() != end {
		t.Errorf("position %s, want %s", k.position(), end)
	}
	must(t, k.Close(t.Context()))
}

// What goes wrong with a removal is logged and tried again; a failed sync of the
// directory is one of the sink's as well.
func TestRetentionFaults(t *testing.T) {
	disk, w := crashfs.New(), source(6000)
	k := startKeeping(t, disk, w, withRetention(segmentfile.Retention{Size: 1}))
	k.mustDeliver(w, seg(5, 1000))
	k.mustFlush()
	fail := func(op crashfs.Op) {
		disk.Inject(func(c crashfs.Call) *crashfs.Fault {
			if c.Op == op {
				return &crashfs.Fault{Err: syscall.EIO}
			}
			return nil
		})
	}
	before := names(t, disk)
	for _, op := range []crashfs.Op{crashfs.OpRemove, crashfs.OpReadDir, crashfs.OpRemove} {
		fail(op)
		k.retain(seg(2, 0))
		disk.Inject(nil)
		keeps(t, disk, before)
	}
	if n := k.log.count("cannot remove WAL"); n != 3 {
		t.Errorf("%d warnings: %s", n, k.log.text.String())
	}
	k.mustFlush()
	k.retain(seg(2, 0))
	keeps(t, disk, strings.Fields(before)[1:]...)
	fail(crashfs.OpSyncDir)
	k.retain(seg(3, 0))
	disk.Inject(nil)
	wantError(t, k.deliver(w, w.End()), false, "durable", "the disk has failed")
	_ = k.Close(t.Context())
}

// The old timeline's segments go by their place; what somebody needs who is still
// on it stays from the switch point on.
func TestRetentionTimelines(t *testing.T) {
	disk, w := crashfs.New(), source(3000)
	sw := w.End() // in segment 3
	k := startKeeping(t, disk, w, withRetention(segmentfile.Retention{Size: 1}))
	k.mustDeliver(w, sw)
	must(t, k.rewind(epochTo(sw)))
	p := promoted(source(3000), 2, 3000)
	must(t, k.Deliver(t.Context(), p.Bytes()[k.Next()-p.Options().Start:]))
	k.mustFlush()
	one := name(sw) + ".partial"
	k.retain(p.End()) // of timeline 1, far beyond the switch point
	if got := strings.Fields(names(t, disk)); got[0] != one || got[1] != "00000002.history" || got[2] != named(2, sw) {
		t.Errorf("the archive has %s", got)
	}
	must(t, k.sink.Retain(t.Context(), wal.Position{Timeline: 3, LSN: p.End()}))
	if k.log.count("not in the history of timeline 2") != 1 || !strings.Contains(names(t, disk), one) {
		t.Errorf("the log: %s", k.log.text.String())
	}
	must(t, k.sink.Retain(t.Context(), wal.Position{Timeline: 2, LSN: p.End()}))
	last := segSize.Start(p.End())
	keeps(t, disk, "00000002.history", named(2, last-wal.LSN(segSize)), named(2, last)+".partial")
	must(t, k.Close(t.Context()))
}

// TestRetentionBeside: segments go while others are received and compressed, and
// neither hinders the other.
func TestRetentionBeside(t *testing.T) {
	for compression, level := range map[string]int{"none": 0, "zstd": 19} {
		dir := filepath.Join(t.TempDir(), "a")
		w := source(20_000)
		c := &segmentfile.Config{Directory: dir, Compression: compression, CompressionLevel: level,
			Retention: &segmentfile.Retention{Size: 1, Interval: time.Millisecond}}
		l, err := startAs(t, durable.OS{}, w, c)
		must(t, err)
		for l.Next() < w.End() {
			// Nobody else needs anything: what it needs itself, the sink knows.
			l.mustDeliver(w, min(l.Next()+500_000, w.End()))
			must(t, l.sink.Retain(t.Context(), wal.Position{Timeline: 1, LSN: w.End()}))
		}
		l.mustFlush()
		want := []string{name(w.End()-wal.LSN(segSize)) + map[string]string{"zstd": ".zst"}[compression], name(w.End()) + ".partial"}
		deadline := time.Now().Add(time.Minute)
		var got []string
		for tick := time.NewTicker(5 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
			got, err = filepath.Glob(filepath.Join(dir, "0*"))
			must(t, err)
			if len(got) == 2 && filepath.Base(got[0]) == want[0] && filepath.Base(got[1]) == want[1] {
				break
			}
		}
		if len(got) != 2 {
			t.Errorf("%s: %v, want %v", compression, got, want)
		}
		must(t, l.Close(t.Context()))
		l, err = startAs(t, durable.OS{}, w, c)
		must(t, err)
		if l.position() != w.End() {
			t.Errorf("position %s, want %s", l.position(), w.End())
		}
		must(t, l.Close(t.Context()))
	}
}

func TestValidateRetention(t *testing.T) {
	for want, r := range map[string]segmentfile.Retention{
		"":                             {Size: 1},
		" ":                            {Age: "7d", Size: 1 << 40, Backup: "newest:2", Interval: time.Second},
		"[retention] without a rule":   {DryRun: true},
		"[retention age] 7d":           {Age: "7"},
		"[retention size] below zero":  {Size: -1},
		"[retention backup] newest:1":  {Backup: "newest:many"},
		"[retention interval] such as": {Size: 1, Interval: -1},
	} {
		c := segmentfile.Config{Directory: "/a", Retention: &r}
		got := ""
		for _, e := range c.Validate() {
			got += fmt.Sprint(e.Path, e.Summary, " ", e.Detail)
		}
		words := strings.Fields(want)
		if (got == "") != (len(words) == 0) {
			t.Errorf("%+v: %q", r, got)
		}
		for _, word := range words {
			if !strings.Contains(got, word) {
				t.Errorf("%+v: %q, without %q", r, got, word)
			}
		}
	}
}
