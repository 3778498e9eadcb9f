package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// The WAL that is received.
const (
	corpusScale  = 70                  // of pgbench's tables, whose making is the bulk load
	corpusRound  = 25_000              // transactions of each of 4 clients between two checkpoints
	corpusVolume = wal.LSN(2100 << 20) // bytes
	corpusSlot   = "base"              // a slot that stays at the WAL's start
	runSlot      = "run"               // a copy of it, for one run
)

// corpus is a server at rest that has WAL to send.
type corpus struct {
	*postgres.Cluster
	start, end wal.LSN
	volume     float64 // bytes
}

// newCorpus makes one.
func (b *bench) newCorpus(ctx context.Context) (_ *corpus, err error) {
	c, err := b.server(ctx, map[string]string{"wal_keep_size": "64GB"})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, destroy(ctx, c))
		}
	}()
	if err := c.Exec(ctx, "SELECT pg_create_physical_replication_slot('"+corpusSlot+"', true)"); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, c, corpusScale); err != nil {
		return nil, err
	}
	begin, err := c.QueryString(ctx, "SELECT restart_lsn FROM pg_replication_slots")
	if err != nil {
		return nil, err
	}
	start, err := wal.ParseLSN(begin)
	if err != nil {
		return nil, err
	}
	if _, err := b.loadUntil(ctx, c, start+corpusVolume, corpusRound); err != nil {
		return nil, err
	}
	return b.rest(ctx, c, start)
}

// rest has the server write out what it holds, so that it does nothing but send.
func (b *bench) rest(ctx context.Context, c *postgres.Cluster, start wal.LSN) (*corpus, error) {
	if err := c.Checkpoint(ctx); err != nil {
		return nil, err
	}
	end, err := c.CurrentLSN(ctx)
	return &corpus{c, start, end, float64(end - start)}, err
}

func (c *corpus) describe() string {
	return fmt.Sprintf("%.2f GB of WAL in 16 MB segments of a server at rest on this machine: pgbench's tables at scale %d, then its own script with a checkpoint every %d transactions",
		c.volume/1e9, corpusScale, 4*corpusRound)
}

// slot makes the slot of a run anew, at the WAL's start.
func (c *corpus) slot(ctx context.Context) error {
	return c.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '"+runSlot+"'",
		"SELECT pg_copy_physical_replication_slot('"+corpusSlot+"', '"+runSlot+"')")
}

// walplex is a run of walplex that receives all there is into sinks, which are
// given the run's directory. look, if any, sees the directory afterwards.
func (c *corpus) walplex(b *bench, sinks func(dir string) []sinkText, look func(dir string, k *cost) error) run {
	return func(ctx context.Context) (k cost, err error) {
		dir, err := b.fresh()
		if err != nil {
			return k, err
		}
		defer remove(dir, &err)
		conf := configuration{dsn: c.DSN(), slot: runSlot, sinks: sinks(dir)}
		for _, s := range conf.sinks {
			if s.kind == "null" {
				conf.null = filepath.Join(b.dir, "nullsink")
			}
		}
		path, err := conf.write(dir)
		if err != nil {
			return k, err
		}
		if err := c.slot(ctx); err != nil {
			return k, err
		}
		k, err = measure(exec.CommandContext(ctx, b.binary, "run", "--until", c.end.String(), path))
		if err == nil && look != nil {
			err = look(dir, &k)
		}
		return k, err
	}
}

// receivewal is a run of pg_receivewal that does the same.
func (c *corpus) receivewal(b *bench) run {
	return func(ctx context.Context) (k cost, err error) {
		dir, err := b.fresh()
		if err != nil {
			return k, err
		}
		defer remove(dir, &err)
		if err := c.slot(ctx); err != nil {
			return k, err
		}
		cmd, err := receivewal(ctx, c.Cluster, "--directory", dir, "--dbname", c.DSN(), "--slot", runSlot, "--no-loop",
			"--endpos", (c.end - 8).String()) // it ends when it has received more than that
		if err != nil {
			return k, err
		}
		k, err = measure(cmd)
		if err != nil {
			return k, err
		}
		return k, sameVolume(dir, c.volume)
	}
}

// receivewal is a command of pg_receivewal, as ourselves and not as the server's
// user: both sides write as the same user.
func receivewal(ctx context.Context, c *postgres.Cluster, args ...string) (*exec.Cmd, error) {
	tool := c.Tool(ctx, "pg_receivewal")
	if tool.Err != nil {
		return nil, tool.Err
	}
	return exec.CommandContext(ctx, tool.Path, args...), nil
}

// sameVolume checks that segments hold all WAL of the corpus.
func sameVolume(dir string, volume float64) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	n := 0
	for _, e := range list {
		if len(strings.TrimSuffix(e.Name(), wal.PartialSuffix)) == len("000000010000000000000001") {
			n++
		}
	}
	if have := float64(n) * (16 << 20); have < volume {
		return fmt.Errorf("%d segments hold less than %.0f bytes", n, volume)
	}
	return nil
}
