package e2e

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// Variables of the environment for TestKillRounds: `make soak` sets the first.
const (
	soakRounds = "WALPLEX_SOAK_ROUNDS" // how many rounds; default shortSoak
	soakSeed   = "WALPLEX_SOAK_SEED"   // the seed that a failed run has printed
)

const shortSoak = 5

// number reads a variable of the environment.
func number(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("$%s is %q: write a number", name, s)
	}
	return n
}

// TestKillRounds kills the host, a sink or the server with SIGKILL, as the seed
// says, again and again under pgbench. In the end the archive is what the server
// has in pg_wal and what pg_receivewal has received beside it, byte for byte, and
// a backup from the beginning recovers to the server's tables.
func TestKillRounds(t *testing.T) {
	rounds, seed := number(t, soakRounds, shortSoak), number(t, soakSeed, uint64(time.Now().UnixNano()))
	t.Logf("%d rounds; %s=%d repeats them", rounds, soakSeed, seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c := server(t)
	initPgbench(t, c)
	archive, other := archiveDir(t, c, "archive"), archiveDir(t, c, "other")
	backup := filepath.Join(archiveDir(t, c, "backups"), "b")
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('receiver', true)")
	receiver := c.Tool(t.Context(), "pg_receivewal", "-D", other, "-S", "receiver", "--synchronous", "--no-password")
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	stopReceiver := sync.OnceFunc(func() { _ = receiver.Process.Signal(os.Interrupt); _ = receiver.Wait() })
	defer stopReceiver()
	conf := newDirs(t).write(archiveAs(archive, readable), c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	baseBackup(t, c, backup) // without --archive: its history file is no segment to compare

	stopLoad := endlessLoad(t, c)
	for round := range rounds {
		from := flushLSN(t, c)
		target := from + wal.LSN(rnd.IntN(3<<20))
		eventually(t, "the load has come to "+target.String(), func() bool {
			s, err := c.QueryString(t.Context(), "SELECT pg_current_wal_flush_lsn() >= '"+target.String()+"'")
			return err == nil && s == "t"
		})
		victim := []string{"host", "sink", "server"}[rnd.IntN(3)]
		t.Logf("round %d: the %s, at %s", round+1, victim, target)
		switch victim {
		case "host":
			h.kill9()
			h = start(t, "run", conf)
			h.sinkPID("archive")
		case "sink":
			h.killSink("archive")
		case "server":
			if err := c.Kill9(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	stopLoad()
	want := pgbenchTables(t, c)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	slotReaches(t, c, "receiver", end)
	h.stop()
	stopReceiver()
	compareArchive(t, c, archive, end)
	compareArchives(t, archive, other, end)
	start(t, "archive", "verify", archive).wants(0, "the archive is whole")
	r := restore(t, c, copyBackup, backup, map[string]string{"restore_command": restoreCommand(t, "--from", archive)})
	if got := pgbenchTables(t, r); got != want {
		t.Errorf("the tables are %s, want %s", got, want)
	}
	amcheck(t, r)
}

// loadSeconds is how long one pgbench runs.
const loadSeconds = 5

// endlessLoad runs pgbench over and over, through deaths of the server, until stop.
func endlessLoad(t *testing.T, c *postgres.Cluster) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			// It ends where the server dies, and cannot begin while that is down.
			_, _ = c.Pgbench(ctx, "-n", "-c", "4", "-T", strconv.Itoa(loadSeconds), "postgres")
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// compareArchives holds two archives against each other, over the segments that
// both have, up to end.
func compareArchives(t *testing.T, a, b string, end wal.LSN) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(b, "0*"))
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), wal.PartialSuffix)
		_, n, err := segment.ParseFileName(base)
		if err != nil {
			t.Fatal(err)
		}
		x := readSegment(t, a, base)
		if x == nil || segment.LSN(n) >= end {
			continue // received before the other began
		}
		size := int(min(end-segment.LSN(n), wal.LSN(segment)))
		if y := readSegment(t, b, base); len(x) < size || len(y) < size || !bytes.Equal(x[:size], y[:size]) {
			t.Errorf("%s differs in %s and %s", base, a, b)
		}
		same++
	}
	if same < 2 {
		t.Errorf("only %d segments are in both archives", same)
	}
}

// readSegment reads a segment, finished or not; nil where it is missing.
func readSegment(t *testing.T, dir, base string) []byte {
	t.Helper()
	for _, name := range []string{base, base + wal.PartialSuffix} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			return b
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return nil
}
