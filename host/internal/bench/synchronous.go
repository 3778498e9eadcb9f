package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
)

// The load of commits that wait.
const (
	syncScale   = 20
	syncClients = "8"
	syncTime    = 10 * time.Second // of a run
	syncName    = "bench"          // application_name of whoever is waited for
	attachWait  = 30 * time.Second
)

// commits is a server whose commits wait for whoever is called syncName.
type commits struct {
	*postgres.Cluster
	b *bench
}

func (b *bench) newCommits(ctx context.Context) (_ *commits, err error) {
	c, err := b.server(ctx, map[string]string{"synchronous_commit": "on", "wal_keep_size": "4GB"})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, destroy(ctx, c))
		}
	}()
	if err := b.fill(ctx, c, syncScale); err != nil {
		return nil, err
	}
	if err := c.SetConf(map[string]string{"synchronous_standby_names": syncName}); err != nil {
		return nil, err
	}
	return &commits{c, b}, c.Reload(ctx)
}

// rate runs pgbench while the receiver that start starts in a fresh directory is
// waited for, and answers the transactions by the second. begin, if any, is called
// before the load.
func (c *commits) rate(ctx context.Context, d time.Duration, sig os.Signal, start func(dir string) (*exec.Cmd, error), begin func(dir string, pid int) (after func() error, err error)) (k cost, err error) {
	dir, err := c.b.fresh()
	if err != nil {
		return k, err
	}
	defer remove(dir, &err)
	if err := c.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
		"SELECT pg_create_physical_replication_slot('"+runSlot+"', true)", "CHECKPOINT"); err != nil {
		return k, err
	}
	cmd, err := start(dir)
	if err != nil {
		return k, err
	}
	p, err := startBackground(cmd, dir)
	if err != nil {
		return k, err
	}
	defer func() {
		if e := p.end(sig); err == nil {
			err = e
		}
	}()
	wait, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	if err := c.WaitFor(wait, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'", "1"); err != nil {
		return k, p.explain(err)
	}
	if begin != nil {
		after, err := begin(dir, cmd.Process.Pid)
		if err != nil {
			return k, err
		}
		defer func() {
			if e := after(); err == nil {
				err = e
			}
		}()
	}
	out, err := c.Pgbench(ctx, "-n", "-c", syncClients, "-j", "2", "-T", strconv.Itoa(int(d.Seconds())))
	if err != nil {
		return k, err
	}
	k.rate, err = parseRate(out)
	return k, err
}

// parseRate reads the line "tps = 1234.5 (without initial connection time)".
func parseRate(out string) (float64, error) {
	_, rest, ok := strings.Cut(out, "tps = ")
	if !ok {
		return 0, fmt.Errorf("pgbench does not say how many transactions it made:\n%s", out)
	}
	text, _, _ := strings.Cut(rest, " ")
	return strconv.ParseFloat(strings.TrimSpace(text), 64)
}

// ours starts walplex with an archive, and other sinks.
func (c *commits) ours(ctx context.Context, others func(dir string) []sinkText) func(dir string) (*exec.Cmd, error) {
	return func(dir string) (*exec.Cmd, error) {
		conf := configuration{dsn: c.DSN("application_name=" + syncName), slot: runSlot, sinks: []sinkText{fileSink("segment_file", "archive", dir)}}
		if others != nil {
			null, err := c.b.nullProgram(ctx)
			if err != nil {
				return nil, err
			}
			conf.null, conf.sinks = null, append(conf.sinks, others(dir)...)
		}
		path, err := conf.write(dir)
		return exec.CommandContext(ctx, c.b.binary, "run", path), err
	}
}

// synchronousTable compares commits that wait for walplex with commits that wait
// for pg_receivewal.
func synchronousTable(ctx context.Context, b *bench) (_ *report, err error) {
	if _, err := b.walplex(ctx); err != nil {
		return nil, err
	}
	c, err := b.newCommits(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c.Cluster)) }()
	ours := func(ctx context.Context) (cost, error) {
		return c.rate(ctx, syncTime, syscall.SIGTERM, c.ours(ctx, nil), nil)
	}
	peer := func(ctx context.Context) (cost, error) {
		return c.rate(ctx, syncTime, os.Interrupt, func(dir string) (*exec.Cmd, error) {
			return receivewal(ctx, c.Cluster, "--synchronous", "--directory", dir, "--dbname", c.DSN("application_name="+syncName), "--slot", runSlot, "--no-loop")
		}, nil)
	}
	b.say("commits that wait")
	ps, err := pairs(ctx, b.n, ours, peer)
	if err != nil {
		return nil, err
	}
	return &report{
		title: "Synchronous commits: walplex against pg_receivewal --synchronous",
		method: fmt.Sprintf("pgbench's own script at scale %d, %s clients, %s a run, with synchronous_commit = on: each commit waits until the receiver, which synchronous_standby_names names, has reported its flush. Walplex has `segment_file`.",
			syncScale, syncClients, syncTime),
		columns: []string{"walplex", "pg_receivewal", "**transactions against pg_receivewal**"},
		rows: [][]string{{
			fmt.Sprintf("%.0f /s", median(ps, func(p pair) float64 { return p.ours.rate })),
			fmt.Sprintf("%.0f /s", median(ps, func(p pair) float64 { return p.peer.rate })),
			fmt.Sprintf("**%.2f**", median(ps, moreRate))}},
	}, nil
}
