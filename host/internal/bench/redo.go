package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/walplex/walplex/host/internal/consistency"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/replay"
	"github.com/walplex/walplex/sdk/wal"
)

// The WAL that is redone.
const (
	redoScale  = 50
	redoRound  = 30_000                // transactions of each of 4 clients between two looks at the volume
	redoVolume = wal.LSN(1200 << 20)   // bytes
	redoMemory = 256 << 20             // bytes that walplex's changes may wait in
	redoGoal   = "≥ 1.0, 1.5 aimed at" // times as fast
	redoCore   = "0"                   // the one that either side has
	redoTables = `CREATE TABLE events (id bigserial PRIMARY KEY, account int, at timestamptz DEFAULT now(), note text)`
	// redoScript is pgbench's own, and an insert into a table with three indexes,
	// of which two get keys without order.
	redoScript = `\set aid random(1, 100000 * :scale)
\set bid random(1, 1 * :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO events (account, note) VALUES (:aid, md5(:aid::text));
END;
`
)

// crash is a server that crashed after much work, and its files as they were at
// the checkpoint before.
type crash struct {
	*postgres.Cluster
	base     string // the files, without WAL
	last     string // the name of the segment in which the WAL ends
	replayer string // program
	volume   float64
}

// redoTable compares package replay with the server's own recovery.
func redoTable(ctx context.Context, b *bench) (_ *report, err error) {
	k, err := b.newCrash(ctx)
	if k != nil {
		defer func() { err = errors.Join(err, destroy(ctx, k.Cluster)) }()
	}
	if err != nil {
		return nil, err
	}
	done, pages, err := k.equal(ctx, b)
	if err != nil {
		return nil, err
	}
	r := &report{
		title: "Redo: every changed page, against PostgreSQL's crash recovery",
		method: fmt.Sprintf("%.2f GB of WAL after one checkpoint, with `full_page_writes` on: pgbench's tables at scale %d, its own script, and an insert into a table with three indexes in each transaction; %d records, %d changes of pages, %d of them images. "+
			"Both begin with the same files as of the checkpoint and the same segments, in the page cache, on one core (`taskset`), and end with all pages in the relations' files and fsynced; after a run of each all %d pages of users' relations and transactions' states are equal (checked before). "+
			"PostgreSQL is `postgres --single`, so that redo, the checkpoint at its end and all writing are one process, with `fsync` on and `recovery_init_sync_method = syncfs`, which spares it the opening of all files; walplex is package `host/internal/replay` with %d MiB for changes that wait, beside the WAL, which it maps. "+
			"Both are timed from the process's start to its end.",
			k.volume/1e9, redoScale, done.Records, done.Changes, done.Images, pages, redoMemory>>20),
		columns: []string{"`shared_buffers`", "walplex", "PostgreSQL", "walplex, WAL", "**times as fast**", "goal", "walplex, CPU", "PostgreSQL, CPU", "**PostgreSQL's CPU time ÷ walplex's**", "others' share of the CPUs, at most"},
	}
	for _, buffers := range []string{"512MB", "2GB"} {
		b.say("redo against PostgreSQL with shared_buffers = %s", buffers)
		ps, others, err := quietPairs(ctx, b.n, k.run(func(dir string) *exec.Cmd { return k.ours(ctx, dir) }),
			k.run(func(dir string) *exec.Cmd { return k.theirs(ctx, dir, buffers) }))
		if err != nil {
			return nil, err
		}
		r.rows = append(r.rows, []string{buffers,
			fmt.Sprintf("%.2f s", median(ps, oursElapsed)),
			fmt.Sprintf("%.2f s", median(ps, peerElapsed)),
			fmt.Sprintf("%.0f MB/s", k.volume/1e6/median(ps, oursElapsed)),
			fmt.Sprintf("**%.2f**", median(ps, faster)), redoGoal,
			fmt.Sprintf("%.2f s", median(ps, func(p pair) float64 { return p.ours.cpu.Seconds() })),
			fmt.Sprintf("%.2f s", median(ps, func(p pair) float64 { return p.peer.cpu.Seconds() })),
			fmt.Sprintf("**%.2f**", median(ps, cpuSaved)),
			fmt.Sprintf("%.0f %%", 100*others),
		})
	}
	return r, nil
}

// newCrash makes one. With an error it may answer a cluster that is to be
// destroyed.
func (b *bench) newCrash(ctx context.Context) (*crash, error) {
	c, err := b.server(ctx, map[string]string{"wal_keep_size": "64GB"})
	if err != nil {
		return nil, err
	}
	k := &crash{Cluster: c, base: filepath.Join(c.Dir(), "base"), replayer: filepath.Join(b.dir, "replayer")}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", k.replayer, "github.com/walplex/walplex/host/internal/bench/replayer").CombinedOutput(); err != nil {
		return k, fmt.Errorf("build the replayer: %w\n%s", err, out)
	}
	if err := b.fill(ctx, c, redoScale); err != nil {
		return k, err
	}
	if err := c.Exec(ctx, redoTables, "CREATE INDEX ON events (account)", "CREATE INDEX ON events (note)", "CHECKPOINT"); err != nil {
		return k, err
	}
	start, err := c.CurrentLSN(ctx)
	if err != nil {
		return k, err
	}
	if err := c.Stop(ctx, postgres.Immediate); err != nil {
		return k, err
	}
	if err := k.tool(ctx, "cp", "-a", c.DataDir(), k.base); err != nil {
		return k, err
	}
	if err := k.tool(ctx, "rm", "-r", filepath.Join(k.base, "pg_wal")); err != nil {
		return k, err
	}
	if err := c.Start(ctx); err != nil {
		return k, err
	}
	end, err := k.work(ctx, b, start)
	if err != nil {
		return k, err
	}
	k.volume = float64(end - start)
	k.last = wal.SegmentSize(wal.DefaultSegmentSize).FileName(1, wal.SegmentSize(wal.DefaultSegmentSize).SegNo(end))
	return k, c.Stop(ctx, postgres.Immediate)
}

// work makes WAL.
func (k *crash) work(ctx context.Context, b *bench, start wal.LSN) (wal.LSN, error) {
	script := filepath.Join(k.Dir(), "script.sql")
	if err := os.WriteFile(script, []byte(redoScript), 0o644); err != nil {
		return 0, err
	}
	for {
		at, err := k.CurrentLSN(ctx)
		if err != nil || at >= start+redoVolume {
			return at, err
		}
		b.say("%d MB of WAL of %d", (at-start)>>20, redoVolume>>20)
		if _, err := k.Pgbench(ctx, "-n", "-c", "4", "-j", "2", "-t", fmt.Sprint(redoRound), "-s", fmt.Sprint(redoScale), "-f", script); err != nil {
			return 0, err
		}
	}
}

// tool runs a program as the server's user.
func (k *crash) tool(ctx context.Context, args ...string) error {
	out, err := k.Tool(ctx, "env", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// prepare makes the directory as the crash left it; nothing that is done to it
// reaches the others.
func (k *crash) prepare(ctx context.Context, dir string) error {
	if err := k.tool(ctx, "cp", "-a", k.base, dir); err != nil {
		return err
	}
	// The server goes on in the last segment; the others it reads.
	if err := k.tool(ctx, "cp", "-al", k.WALDir(), filepath.Join(dir, "pg_wal")); err != nil {
		return err
	}
	list, err := os.ReadDir(k.WALDir())
	if err != nil {
		return err
	}
	for _, e := range list {
		if wal.IsSegmentName(e.Name()) && e.Name() >= k.last {
			if err := k.tool(ctx, "cp", "-a", "--remove-destination", filepath.Join(k.WALDir(), e.Name()), filepath.Join(dir, "pg_wal", e.Name())); err != nil {
				return err
			}
		}
	}
	syscall.Sync()
	return nil
}

// run is the run of a command over a fresh directory.
func (k *crash) run(command func(dir string) *exec.Cmd) run {
	return func(ctx context.Context) (c cost, err error) {
		dir := filepath.Join(k.Dir(), "run")
		defer remove(dir, &err)
		if err := k.prepare(ctx, dir); err != nil {
			return c, err
		}
		return measure(command(dir))
	}
}

// ours is walplex's command, as ourselves, who may write what the server's user
// owns.
func (k *crash) ours(ctx context.Context, dir string) *exec.Cmd {
	return exec.CommandContext(ctx, "taskset", "-c", redoCore, k.replayer, "--memory", fmt.Sprint(redoMemory), dir)
}

// theirs is the server's, which ends when it has recovered, for nobody asks it
// anything.
func (k *crash) theirs(ctx context.Context, dir, buffers string) *exec.Cmd {
	server := k.Tool(ctx, "postgres")
	cmd := k.Tool(ctx, "env", "taskset", "-c", redoCore, server.Path, "--single", "-D", dir,
		"-c", "shared_buffers="+buffers, "-c", "fsync=on", "-c", "recovery_init_sync_method=syncfs", "postgres")
	if server.Err != nil {
		cmd.Err = server.Err
	}
	return cmd
}

// equal runs both once, and checks that they come to the same pages; it answers
// what ours did, and how many pages that are.
func (k *crash) equal(ctx context.Context, b *bench) (_ *replay.Result, pages int, err error) {
	b.say("redo by both, and a comparison")
	ours, theirs := filepath.Join(k.Dir(), "ours"), filepath.Join(k.Dir(), "theirs")
	defer remove(ours, &err)
	defer remove(theirs, &err)
	for _, dir := range []string{ours, theirs} {
		if err := k.prepare(ctx, dir); err != nil {
			return nil, 0, err
		}
	}
	var out strings.Builder
	cmd := k.ours(ctx, ours)
	cmd.Stdout = &out
	if _, err := measure(cmd); err != nil {
		return nil, 0, err
	}
	var done replay.Result
	if err := json.Unmarshal([]byte(out.String()), &done); err != nil {
		return nil, 0, err
	}
	if _, err := measure(k.theirs(ctx, theirs, "512MB")); err != nil {
		return nil, 0, err
	}
	c, err := consistency.CompareDirs(ours, theirs)
	if err != nil {
		return nil, 0, err
	}
	if c.Failed > 0 || c.Pages == 0 {
		return nil, 0, fmt.Errorf("of %d pages %d differ:\n%s", c.Pages, c.Failed, strings.Join(c.Failures, "\n"))
	}
	return &done, c.Pages, nil
}
