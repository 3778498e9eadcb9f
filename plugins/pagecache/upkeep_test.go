package pagecache

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// lockedBuffer is a log that several goroutines write and read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestRetain keeps the history over some WAL: what lies before it is gone, and
// what is read at its end is what it was.
func TestRetain(t *testing.T) {
	w := waltest.New(waltest.Options{})
	var ends []wal.LSN
	for i := range 2000 {
		_, end := w.Append(waltest.FullPageImage(testRel, wal.BlockNumber(i%10), waltest.HeapPage(3000, byte(i))))
		ends = append(ends, end)
	}
	c := &Config{Directory: "/pages", Listen: shortDir(t) + "/s", Retain: 1 << 20, RetainInterval: 10 * time.Millisecond}
	s := newSink(c, vfs.NewMem())
	l, err := beginSink(t, s, w)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.all()
	client := l.client()
	until(t, "the horizon rises to 1 MiB and a quarter behind the end", func() bool {
		st, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return wal.LSN(st.HorizonLsn) >= w.End()-5<<18
	})
	st, err := client.Status(t.Context())
	if err != nil || wal.LSN(st.HorizonLsn) > w.End()-1<<20 {
		t.Fatalf("less is kept than was asked for: %v, %v", st, err)
	}
	_, err = client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: ends[100]})
	wantCode(t, err, codes.OutOfRange, "")
	for i := len(ends) - 10; i < len(ends); i++ {
		res, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, Block: wal.BlockNumber(i % 10), LSN: w.End()})
		if err != nil || res.GetImage().GetPage()[8191] != byte(i) || res.GetImage().GetEndLsn() != uint64(ends[i]) {
			t.Errorf("page %d: %v", i%10, err)
		}
	}
}

// TestUpkeepTells has what was collected in metrics and in the log.
func TestUpkeepTells(t *testing.T) {
	w := waltest.Random(5, waltest.Options{}, 1<<20)
	fsys := vfs.NewMem()
	l := begin(t, fsys, "/pages", w)
	l.all()
	l.close()
	var log lockedBuffer
	c := &Config{Directory: "/pages", Listen: shortDir(t) + "/s", Retain: 100 << 10, RetainInterval: time.Millisecond}
	s := newSink(c, fsys)
	s.maxLogFile = testLogFile
	if _, err := s.Open(t.Context(), &sdk.OpenRequest{System: testSystem, LockWait: time.Minute, Metrics: &sdk.Metrics{}, Logger: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
		t.Fatal(err)
	}
	until(t, "the log tells of it", func() bool { return strings.Contains(log.String(), "history of pages was collected") })
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
