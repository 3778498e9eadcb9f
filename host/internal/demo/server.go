package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/wal"
)

// clients is how many of them pgbench runs.
const clients = 4

// settings of the throwaway server.
func settings() map[string]string {
	return map[string]string{
		"wal_keep_size": "1TB", // nothing of pg_wal goes: it is what the archive is compared with
		"autovacuum":    "off", // the load is what we say it is
	}
}

func (d *demo) startServer(ctx context.Context) (string, error) {
	c, err := postgres.New(ctx, postgres.Options{Install: d.install, Dir: d.dir, Conf: settings()})
	if err != nil {
		return "", err
	}
	d.cluster = c
	for _, tool := range []string{"pgbench", "pg_waldump", "pg_controldata"} {
		if err := c.Tool(ctx, tool).Err; err != nil {
			return "", err
		}
	}
	if err := c.Start(ctx); err != nil {
		return "", err
	}
	if err := c.Exec(ctx, ordersSQL()...); err != nil {
		return "", err
	}
	redo, err := c.QueryString(ctx, "SELECT redo_lsn FROM pg_control_checkpoint()")
	if err != nil {
		return "", err
	}
	if d.redo, err = wal.ParseLSN(redo); err != nil {
		return "", err
	}
	return "a throwaway cluster", nil
}

func version(in postgres.Install) string {
	return fmt.Sprintf("%d.%d", in.Major(), in.Version%10000)
}

// fill makes pgbench's tables.
func (d *demo) fill(ctx context.Context) (string, error) {
	from, err := d.cluster.CurrentLSN(ctx)
	if err != nil {
		return "", err
	}
	d.load.from, d.load.began = from, time.Now()
	_, err = d.cluster.Pgbench(ctx, "-i", "-q", "-s", strconv.Itoa(d.o.Scale))
	return "", err
}

// awaitFlush waits until the server was told that all sinks hold its WAL durably.
func (d *demo) awaitFlush(ctx context.Context) (string, error) {
	var err error
	if d.blocks, err = d.countBlocks(ctx); err != nil {
		return "", err
	}
	target, err := d.cluster.FlushLSN(ctx)
	if err != nil {
		return "", err
	}
	query := fmt.Sprintf("SELECT coalesce(bool_and(flush_lsn >= '%s'), false) FROM pg_stat_replication", target)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last, since := d.host.stream.Status(), time.Now()
	for {
		flushed, err := d.cluster.QueryString(ctx, query)
		if err != nil {
			return "", err
		}
		now := d.host.stream.Status()
		if flushed == "t" {
			d.load.to, d.load.took = target, time.Since(d.load.began)
			return "confirmed up to " + target.String(), nil
		}
		if progressed(last, now) {
			last, since = now, time.Now()
		}
		if time.Since(since) > flushLimit {
			return "", fmt.Errorf("no sink has made any progress for %s, and the server, which is at %s, was not told that all have flushed: %s", flushLimit, target, positions(now))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// progressed reports whether any sink is further than it was.
func progressed(last, now stream.Status) bool {
	for i, s := range now.Sinks {
		if i >= len(last.Sinks) || s.Written != last.Sinks[i].Written || s.Flushed != last.Sinks[i].Flushed {
			return true
		}
	}
	return false
}

// positions tells where each sink is.
func positions(st stream.Status) string {
	var all []string
	for _, s := range st.Sinks {
		all = append(all, fmt.Sprintf("%s has written %s and flushed %s", s.Name, s.Written, s.Flushed))
	}
	return strings.Join(all, ", ")
}

// stopServer stops the server while the stream is attached: a fast shutdown ends
// only when its walsender has seen everything confirmed.
func (d *demo) stopServer(ctx context.Context) (string, error) {
	if st := d.host.stream.Status(); !running(st.State) {
		return "", fmt.Errorf("the stream is not attached to the server any more: it is %s", st.State)
	}
	sctx, cancel := context.WithTimeoutCause(ctx, stopLimit, fmt.Errorf("not within %s", stopLimit))
	defer cancel()
	began := time.Now()
	if err := d.cluster.Stop(sctx, postgres.Fast); err != nil {
		st := d.host.stream.Status()
		return "", fmt.Errorf("the stream, which is %s and has received WAL up to %s, holds the server up (%s): %w", st.State, st.Received, positions(st), err)
	}
	return d.proved(stopClaim, "fast shutdown in "+seconds(time.Since(began)), nil)
}
