package replication_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

type pgOptions = postgres.Options

func uint64String(n uint64) string { return strconv.FormatUint(n, 10) }

// keepWAL keeps the server from recycling segments that a test compares.
func keepWAL(o *pgOptions) {
	o.SegmentSizeMB = 1
	o.Conf = map[string]string{"wal_keep_size": "1GB", "min_wal_size": "2MB", "max_wal_size": "1GB"}
}

// What is received is what lies in pg_wal, byte for byte, from a standby too.
func TestStreamEqualsSegments(t *testing.T) {
	const size = wal.SegmentSize(1 << 20)
	ctx := testContext(t)
	primary := pgtest.Start(t, keepWAL)
	standby := pgtest.Standby(t, primary)
	for name, source := range map[string]*postgres.Cluster{"primary": primary, "standby": standby} {
		t.Run(name, func(t *testing.T) {
			begin := size.Start(flushLSN(t, source))
			conn := connect(t, source, replication.Config{})
			start(t, conn, replication.StartOptions{LSN: begin, Timeline: 1})
			if _, err := primary.Pgbench(ctx, "-i", "-q", "-s", "2"); err != nil {
				t.Fatal(err)
			}
			end, err := primary.SwitchWAL(ctx)
			if err != nil {
				t.Fatal(err)
			}
			end = size.End(end - 1) // the rest of a switched segment is zeros, and streamed
			s := stream{begin: begin, end: begin}
			s.receive(ctx, t, conn, end)
			want := segmentFiles(t, source, size, 1, begin, s.end)
			if !bytes.Equal(s.bytes.Bytes(), want) {
				t.Errorf("%d bytes from %s differ from pg_wal", s.bytes.Len(), begin)
			}
			if n := s.bytes.Len(); n < 20<<20 {
				t.Errorf("only %d bytes: the load is too small to prove anything", n)
			}
		})
	}
}

// The server shows NULL for what is zero, and only a flush moves the slot.
func TestStatusIsHonest(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, keepWAL)
	conn := connect(t, c, replication.Config{})
	slot, err := conn.CreateSlot(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	start(t, conn, replication.StartOptions{Slot: "s", LSN: slot.RestartLSN})
	insert(t, c, 1)
	target := flushLSN(t, c)
	var s stream
	s.receive(ctx, t, conn, target)

	const shown = "SELECT concat_ws(' ', coalesce(write_lsn::text, 'null'), coalesce(flush_lsn::text, 'null'), coalesce(replay_lsn::text, 'null')) FROM pg_stat_replication"
	if err := conn.SendStatus(ctx, replication.Status{Write: s.end}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, c, shown, s.end.String()+" null null")
	if got := restartLSN(t, c, "s"); got != slot.RestartLSN {
		t.Errorf("a status without flush moved the slot from %s to %s", slot.RestartLSN, got)
	}
	half := slot.RestartLSN + (s.end-slot.RestartLSN)/2
	if err := conn.SendStatus(ctx, replication.Status{Write: s.end, Flush: half}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, c, shown, s.end.String()+" "+half.String()+" null")
	waitFor(t, c, "SELECT restart_lsn FROM pg_replication_slots", half.String())
	if err := conn.SendStatus(ctx, replication.Status{Write: s.end, Flush: s.end, Apply: half}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, c, shown, s.end.String()+" "+s.end.String()+" "+half.String())
}

// A status asks for a keepalive and gets one.
func TestReplyRequested(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t)
	conn := connect(t, c, replication.Config{})
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
	if err := conn.SendStatus(ctx, replication.Status{ReplyRequested: true}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := conn.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == replication.Keepalive {
			if m.ServerWALEnd == 0 || m.ServerTime.IsZero() || m.Data != nil {
				t.Errorf("got %+v", m)
			}
			return
		}
	}
}

// A synchronous commit waits for the flush alone, and a status is sent while
// Receive waits in another goroutine.
func TestStatusWhileReceiving(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, keepWAL)
	conn := connect(t, c, replication.Config{})
	begin := flushLSN(t, c)
	start(t, conn, replication.StartOptions{LSN: begin})
	pgtest.Exec(t, c, "CREATE TABLE t (a int)", "ALTER SYSTEM SET synchronous_standby_names = 'walplex'")
	if err := c.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	// A client that has flushed nothing is no synchronous standby.
	if err := conn.SendStatus(ctx, replication.Status{Write: begin, Flush: begin}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, c, "SELECT sync_state FROM pg_stat_replication", "sync")

	received := make(chan wal.LSN, 1<<16)
	var wg sync.WaitGroup
	receiving, stop := context.WithCancel(ctx)
	wg.Go(func() {
		defer close(received)
		for {
			m, err := conn.Receive(receiving)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return
			}
			if m.Kind == replication.XLogData {
				received <- m.WALStart + wal.LSN(len(m.Data))
			}
		}
	})
	wg.Go(func() {
		for lsn := range received {
			if err := conn.SendStatus(ctx, replication.Status{Write: lsn, Flush: lsn}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		pgtest.Exec(t, c, "INSERT INTO t VALUES (1)")
	}
	stop()
	wg.Wait()
	if sw, err := conn.EndCopy(ctx); err != nil || sw != nil {
		t.Errorf("after a cancelled Receive: %+v, %v", sw, err)
	}
}

// One connection is rewound without a new login.
func TestEndCopyThenStartLower(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, keepWAL)
	conn := connect(t, c, replication.Config{})
	slot, err := conn.CreateSlot(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	insert(t, c, 12) // more than the socket holds: much is under way when the copy ends
	target := flushLSN(t, c)
	var first, again stream
	start(t, conn, replication.StartOptions{Slot: "s", LSN: slot.RestartLSN})
	first.receive(ctx, t, conn, slot.RestartLSN+1<<20)
	if sw, err := conn.EndCopy(ctx); err != nil || sw != nil {
		t.Fatalf("end: %+v, %v", sw, err)
	}
	sys, err := conn.IdentifySystem(ctx)
	if err != nil || sys.FlushLSN < target {
		t.Fatalf("a command after the copy: %+v, %v", sys, err)
	}
	start(t, conn, replication.StartOptions{Slot: "s", LSN: slot.RestartLSN})
	again.receive(ctx, t, conn, target)
	if !bytes.HasPrefix(again.bytes.Bytes(), first.bytes.Bytes()) {
		t.Error("the second stream is another than the first")
	}
	if _, err := conn.EndCopy(ctx); err != nil {
		t.Fatal(err)
	}
}

// At rest the connection is drained, and while WAL waits it is not.
func TestDrained(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, keepWAL)
	conn := connect(t, c, replication.Config{})
	begin := flushLSN(t, c)
	start(t, conn, replication.StartOptions{LSN: begin})
	insert(t, c, 3)
	var s stream
	s.receive(ctx, t, conn, begin+1)
	eventually(t, "WAL waits", func() bool { return !conn.Drained() })
	s.receive(ctx, t, conn, flushLSN(t, c))
	// After the answer to a question the server has nothing more to say, unless
	// WAL came up meanwhile.
	eventually(t, "drained at rest", func() bool {
		if err := conn.SendStatus(ctx, replication.Status{Write: s.end, ReplyRequested: true}); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := conn.Receive(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind == replication.Keepalive {
				return conn.Drained()
			}
		}
	})
}

// While the server has more WAL than it has sent, the connection is not drained,
// whatever the socket holds at that moment.
func TestDrainedBehind(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, keepWAL)
	conn := connect(t, c, replication.Config{})
	begin := flushLSN(t, c)
	if err := c.Exec(ctx, "SELECT pg_logical_emit_message(true, 'bulk', repeat('x', 4 << 20))"); err != nil {
		t.Fatal(err)
	}
	end := flushLSN(t, c)
	start(t, conn, replication.StartOptions{LSN: begin})
	for at, behind := begin, 0; at < end; {
		m, err := conn.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != replication.XLogData {
			continue
		}
		at = m.WALStart + wal.LSN(len(m.Data))
		if m.ServerWALEnd > at {
			behind++
			if conn.Drained() {
				t.Fatalf("drained at %s, where the server has WAL up to %s", at, m.ServerWALEnd)
			}
		}
		if at >= end && behind == 0 {
			t.Error("the server has never been ahead: nothing was tested")
		}
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(testTimeout)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", testTimeout, what)
		case <-tick.C:
		}
	}
}

// A start beyond what the server has is told apart from one in another history.
func TestStartAhead(t *testing.T) {
	ctx := testContext(t)
	primary := pgtest.Start(t, smallSegments)
	standby := pgtest.Standby(t, primary)
	for _, tt := range []struct {
		c    *postgres.Cluster
		want wantError
	}{
		{primary, wantError{code: "XX000", ahead: true, permanent: true}},
		{standby, wantError{code: "XX000", ahead: true}},
	} {
		conn := connect(t, tt.c, replication.Config{})
		ahead := flushLSN(t, tt.c) + 1<<30
		_, err := conn.StartPhysical(ctx, replication.StartOptions{LSN: ahead})
		if err == nil {
			_, err = conn.Receive(ctx)
		}
		checkError(t, err, tt.want)
		// The server has ended the copy only.
		start(t, conn, replication.StartOptions{LSN: flushLSN(t, tt.c)})
	}
	conn := connect(t, primary, replication.Config{})
	_, err := conn.StartPhysical(ctx, replication.StartOptions{LSN: flushLSN(t, primary), Timeline: 9})
	checkError(t, err, wantError{code: "XX000", permanent: true})
}

// Removed WAL is a gap: 58P01, and the connection goes on.
func TestRemovedSegment(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, func(o *pgOptions) {
		o.SegmentSizeMB = 1
		o.Conf = map[string]string{"min_wal_size": "2MB", "max_wal_size": "2MB"}
	})
	begin := flushLSN(t, c)
	for range 8 {
		insert(t, c, 1)
		if err := c.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	}
	name := wal.SegmentSize(1<<20).FileName(1, wal.SegmentSize(1<<20).SegNo(begin))
	if _, err := os.Stat(filepath.Join(c.WALDir(), name)); !os.IsNotExist(err) {
		t.Fatalf("the server still has %s: %v", name, err)
	}
	conn := connect(t, c, replication.Config{})
	_, err := conn.StartPhysical(ctx, replication.StartOptions{LSN: begin})
	for err == nil {
		_, err = conn.Receive(ctx)
	}
	checkError(t, err, wantError{code: "58P01", gap: true, permanent: true})
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
}

// A server that stops in mode fast waits for our flush of all that it sent, says
// End, and the client learns that there is nothing left to talk to.
func TestServerStopFast(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, keepWAL)
	conn := connect(t, c, replication.Config{})
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
	insert(t, c, 1)
	stopped := make(chan error, 1)
	go func() { stopped <- c.Stop(ctx, postgres.Fast) }()
	for {
		m, err := conn.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == replication.End {
			break
		}
		end := m.WALStart + wal.LSN(len(m.Data))
		if m.Kind == replication.Keepalive {
			end = m.ServerWALEnd
		}
		if err := conn.SendStatus(ctx, replication.Status{Write: end, Flush: end}); err != nil {
			checkError(t, err, wantError{}) // the server needed no more and has gone: its End waits in the socket
		}
	}
	_, err := conn.EndCopy(ctx)
	checkError(t, err, wantError{code: "57P01"})
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	_, err = replication.Connect(ctx, replication.Config{DSN: c.DSN()})
	checkError(t, err, wantError{}) // no socket: transient
}

func TestServerKilled(t *testing.T) {
	for name, kill := range map[string]func(context.Context, *postgres.Cluster) error{
		"kill -9":        func(ctx context.Context, c *postgres.Cluster) error { return c.Kill9(ctx) },
		"stop immediate": func(ctx context.Context, c *postgres.Cluster) error { return c.Stop(ctx, postgres.Immediate) },
		"terminated walsender": func(ctx context.Context, c *postgres.Cluster) error {
			return c.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			c := pgtest.Start(t)
			conn := connect(t, c, replication.Config{})
			start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
			if err := kill(ctx, c); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				_, err = conn.Receive(ctx)
			}
			var e *replication.Error
			if !errors.As(err, &e) || e.Permanent || e.Gap || e.Timeout {
				t.Errorf("got %v", err)
			}
			checkError(t, conn.SendStatus(ctx, replication.Status{}), wantError{})
		})
	}
}

// walsender is the process that serves the one stream.
func walsender(t *testing.T, c *postgres.Cluster) *os.Process {
	t.Helper()
	pid, err := strconv.Atoi(query(t, c, "SELECT pid FROM pg_stat_replication"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A walsender that is stopped dead says nothing: after ReceiverTimeout that is
// an error, and a live server that has nothing to say is not.
func TestSilence(t *testing.T) {
	const timeout = time.Second
	ctx := testContext(t)
	c := pgtest.Start(t, func(o *pgOptions) {
		o.Conf = map[string]string{"wal_sender_timeout": "0", "autovacuum": "off"} // it never asks by itself
	})
	conn := connect(t, c, replication.Config{ReceiverTimeout: timeout})
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
	if err := conn.SendStatus(ctx, replication.Status{Write: 8, Flush: 8}); err != nil {
		t.Fatal(err)
	}
	quiet, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	pongs := 0
	for {
		m, err := conn.Receive(quiet)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatalf("a live server: %v", err)
		}
		if m.Kind == replication.Keepalive {
			pongs++
		}
	}
	if pongs < 3 {
		t.Errorf("%d answers to pings in %s", pongs, 3*timeout)
	}
	// A ping repeats the last status: it must not take anything back.
	waitFor(t, c, "SELECT flush_lsn FROM pg_stat_replication", "0/8")

	p := walsender(t, c)
	if err := conn.SendStatus(ctx, replication.Status{Write: 8, Flush: 8, ReplyRequested: true}); err != nil {
		t.Fatal(err)
	}
	if m, err := conn.Receive(ctx); err != nil { // the silence counts from here
		t.Fatal(m, err)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer p.Signal(syscall.SIGCONT)
	began := time.Now()
	var err error
	for err == nil {
		_, err = conn.Receive(ctx)
	}
	if d := time.Since(began); d < timeout || d > 10*timeout {
		t.Errorf("the silence was noticed after %s", d)
	}
	checkError(t, err, wantError{timeout: true})
}

// Polling with short contexts does not hide the silence.
func TestSilenceWhilePolling(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, func(o *pgOptions) { o.Conf = map[string]string{"wal_sender_timeout": "0"} })
	conn := connect(t, c, replication.Config{ReceiverTimeout: time.Second})
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
	p := walsender(t, c)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer p.Signal(syscall.SIGCONT)
	for {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := conn.Receive(short)
		cancel()
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			if ctx.Err() != nil {
				t.Fatal("the silence was never noticed")
			}
			continue
		}
		checkError(t, err, wantError{timeout: true})
		return
	}
}

// A promoted standby ends the old timeline's stream with the next one; a start
// exactly at the end answers it at once.
func TestTimelineSwitch(t *testing.T) {
	ctx := testContext(t)
	primary := pgtest.Start(t, keepWAL)
	standby := pgtest.Standby(t, primary)
	conn := connect(t, standby, replication.Config{})
	sys, err := conn.IdentifySystem(ctx)
	if err != nil {
		t.Fatal(err)
	}
	begin := sys.SegmentSize.Start(sys.FlushLSN)
	start(t, conn, replication.StartOptions{LSN: begin, Timeline: 1})
	if err := standby.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	s := stream{begin: begin, end: begin}
	for {
		m, err := conn.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == replication.End {
			break
		}
		if m.Kind == replication.XLogData {
			s.take(t, m)
		}
	}
	sw, err := conn.EndCopy(ctx)
	if err != nil || sw == nil || sw.NextTimeline != 2 {
		t.Fatalf("the switch: %+v, %v", sw, err)
	}
	if s.end != sw.SwitchLSN {
		t.Errorf("streamed up to %s, and the switch is at %s", s.end, sw.SwitchLSN)
	}

	// The rest of the old timeline is nothing.
	at, err := conn.StartPhysical(ctx, replication.StartOptions{LSN: sw.SwitchLSN, Timeline: 1})
	if err != nil || at == nil || *at != *sw {
		t.Errorf("a start at the end: %+v, %v; want %+v", at, err, sw)
	}
	// Beyond the end of the old timeline there is another history.
	_, err = conn.StartPhysical(ctx, replication.StartOptions{LSN: sw.SwitchLSN + 8, Timeline: 1})
	checkError(t, err, wantError{code: "XX000", permanent: true})
	// The same connection goes on with the new one.
	start(t, conn, replication.StartOptions{LSN: sys.SegmentSize.Start(sw.SwitchLSN), Timeline: 2})
	var next stream
	next.receive(ctx, t, conn, sw.SwitchLSN+1)
	if _, err := conn.EndCopy(ctx); err != nil {
		t.Fatal(err)
	}
	if sys, err = conn.IdentifySystem(ctx); err != nil || sys.Timeline != 2 || sys.InRecovery {
		t.Errorf("after promotion: %+v, %v", sys, err)
	}
}

// The end of ctx interrupts every wait and is told as what it is.
func TestContextEnds(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t)
	conn := connect(t, c, replication.Config{})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := replication.Connect(ended, replication.Config{DSN: c.DSN()}); !errors.Is(err, context.Canceled) {
		t.Errorf("connect: %v", err)
	}
	start(t, conn, replication.StartOptions{LSN: flushLSN(t, c)})
	if _, err := conn.Receive(ended); err != context.Canceled {
		t.Errorf("receive: %v", err)
	}
	if err := conn.SendStatus(ended, replication.Status{}); !errors.Is(err, context.Canceled) {
		t.Errorf("status: %v", err)
	}
	if err := conn.SendStatus(ctx, replication.Status{}); err != nil {
		t.Errorf("a status after that: %v", err)
	}
	if _, err := conn.EndCopy(ctx); err != nil {
		t.Errorf("end after that: %v", err)
	}
	if _, err := conn.IdentifySystem(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("command: %v", err)
	}
}
