package replication_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// testTimeout bounds every wait of a test: long enough to be no cause of failure.
const testTimeout = time.Minute

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func smallSegments(o *postgres.Options) { o.SegmentSizeMB = 1 }

// connect connects as cfg says, by default to c, and closes with the test.
func connect(t *testing.T, c *postgres.Cluster, cfg replication.Config) *replication.Conn {
	t.Helper()
	if cfg.DSN == "" {
		cfg.DSN = c.DSN()
	}
	conn, err := replication.Connect(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return conn
}

// start starts a stream that must not answer a timeline switch.
func start(t *testing.T, conn *replication.Conn, o replication.StartOptions) {
	t.Helper()
	sw, err := conn.StartPhysical(testContext(t), o)
	if err != nil || sw != nil {
		t.Fatalf("start %+v: %+v, %v", o, sw, err)
	}
}

// stream is WAL received without a gap.
type stream struct {
	begin, end wal.LSN
	bytes      bytes.Buffer
	messages   int
}

// receive reads until the stream has reached the LSN.
func (s *stream) receive(ctx context.Context, t *testing.T, conn *replication.Conn, until wal.LSN) {
	t.Helper()
	for s.end < until {
		m, err := conn.Receive(ctx)
		if err != nil {
			t.Fatalf("at %s, on the way to %s: %v", s.end, until, err)
		}
		switch m.Kind {
		case replication.XLogData:
			s.take(t, m)
		case replication.End:
			t.Fatalf("the stream ended at %s, on the way to %s", s.end, until)
		}
	}
}

func (s *stream) take(t *testing.T, m replication.Message) {
	t.Helper()
	if s.messages == 0 && s.begin == 0 {
		s.begin, s.end = m.WALStart, m.WALStart
	}
	if m.WALStart != s.end {
		t.Fatalf("a message begins at %s after one that ended at %s", m.WALStart, s.end)
	}
	if len(m.Data) == 0 || len(m.Data) > 128<<10 {
		t.Fatalf("a message has %d bytes", len(m.Data))
	}
	if m.ServerWALEnd < m.WALStart+wal.LSN(len(m.Data)) {
		t.Errorf("the server's end %s is before the end of its data", m.ServerWALEnd)
	}
	if d := time.Since(m.ServerTime); d < -time.Minute || d > time.Minute {
		t.Errorf("the server's clock is off by %s", d)
	}
	s.bytes.Write(m.Data)
	s.end += wal.LSN(len(m.Data))
	s.messages++
}

// segmentFiles is the WAL from begin to end as it lies in pg_wal.
func segmentFiles(t *testing.T, c *postgres.Cluster, size wal.SegmentSize, tli wal.TimelineID, begin, end wal.LSN) []byte {
	t.Helper()
	var b []byte
	for at := begin; at < end; at = size.End(at) {
		file, err := os.ReadFile(filepath.Join(c.WALDir(), size.FileName(tli, size.SegNo(at))))
		if err != nil {
			t.Fatal(err)
		}
		stop := min(end, size.End(at))
		b = append(b, file[size.Offset(at):uint64(size.Offset(at))+uint64(stop-at)]...)
	}
	return b
}

// wantError is what a test expects of an [*replication.Error].
type wantError struct {
	code                                                   string
	permanent, gap, ahead, slotActive, slotExists, timeout bool
}

func checkError(t *testing.T, err error, want wantError) *replication.Error {
	t.Helper()
	var e *replication.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want %+v", err, err, want)
	}
	got := wantError{e.SQLSTATE, e.Permanent, e.Gap, e.Ahead, e.SlotActive, e.SlotExists, e.Timeout}
	if got != want {
		t.Fatalf("got %+v, want %+v: %v", got, want, err)
	}
	if e.Op == "" || e.Message == "" {
		t.Errorf("an error without an operation or a message: %#v", e)
	}
	return e
}

func flushLSN(t *testing.T, c *postgres.Cluster) wal.LSN {
	t.Helper()
	lsn, err := c.FlushLSN(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

func query(t *testing.T, c *postgres.Cluster, sql string) string {
	t.Helper()
	s, err := c.QueryString(testContext(t), sql)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func waitFor(t *testing.T, c *postgres.Cluster, sql, want string) {
	t.Helper()
	if err := c.WaitFor(testContext(t), sql, want); err != nil {
		t.Fatal(err)
	}
}

// restartLSN is a slot's restart_lsn as the server shows it.
func restartLSN(t *testing.T, c *postgres.Cluster, slot string) wal.LSN {
	t.Helper()
	lsn, err := wal.ParseLSN(query(t, c, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '"+slot+"'"))
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// insert writes about n MiB of WAL that no compression makes smaller.
func insert(t *testing.T, c *postgres.Cluster, mib int) {
	t.Helper()
	for range mib {
		pgtest.Exec(t, c, "SELECT pg_logical_emit_message(false, 'walplex', repeat('x', 1024*1024))")
	}
}
