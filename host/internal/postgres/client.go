package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/walplex/walplex/sdk/wal"
)

// DSN leads to the cluster's database postgres as its superuser, through the
// Unix socket. Parameters in extra, such as "user=alice", are appended and win.
func (c *Cluster) DSN(extra ...string) string {
	dsn := fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres", c.dir, c.port)
	return strings.Join(append([]string{dsn}, extra...), " ")
}

// DSNTCP is DSN over TCP; it needs Options.TCP.
func (c *Cluster) DSNTCP(extra ...string) string {
	return c.DSN(append([]string{"host=127.0.0.1"}, extra...)...)
}

// Connect opens an ordinary connection. Whoever calls closes it.
func (c *Cluster) Connect(ctx context.Context, extra ...string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, c.DSN(extra...))
	if err != nil {
		return nil, c.withLog(fmt.Errorf("connect to the server in %s: %w", c.dir, err))
	}
	return conn, nil
}

// Exec runs each argument as one simple query, which may be several
// statements, on one connection.
func (c *Cluster) Exec(ctx context.Context, sql ...string) (err error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for _, q := range sql {
		if _, err := conn.PgConn().Exec(ctx, q).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

// QueryString is the first column of the query's first row as text, empty for
// NULL; no row is an error.
func (c *Cluster) QueryString(ctx context.Context, sql string) (_ string, err error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return "", fmt.Errorf("%s: %w", sql, err)
	}
	for i := len(results) - 1; i >= 0; i-- {
		if rows := results[i].Rows; len(rows) > 0 && len(rows[0]) > 0 {
			return string(rows[0][0]), nil
		}
	}
	return "", fmt.Errorf("%s: no row", sql)
}

// WaitFor polls the query until its first column is want; ctx bounds it. The
// error says what it was last.
func (c *Cluster) WaitFor(ctx context.Context, sql, want string) error {
	tick := time.NewTicker(2 * pollInterval)
	defer tick.Stop()
	for {
		got, err := c.QueryString(ctx, sql)
		if err == nil && got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: is %q, waited for %q: %w", sql, got, want, context.Cause(ctx)), err)
		case <-tick.C:
		}
	}
}

func (c *Cluster) queryLSN(ctx context.Context, sql string) (wal.LSN, error) {
	s, err := c.QueryString(ctx, sql)
	if err != nil {
		return 0, err
	}
	return wal.ParseLSN(s)
}

// CurrentLSN is how far the WAL has been inserted; on a standby, replayed.
func (c *Cluster) CurrentLSN(ctx context.Context) (wal.LSN, error) {
	return c.queryLSN(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END")
}

// FlushLSN is how far the WAL is flushed; on a standby, received and flushed.
func (c *Cluster) FlushLSN(ctx context.Context) (wal.LSN, error) {
	return c.queryLSN(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_flush_lsn() END")
}

// SwitchWAL ends the current segment and answers the end of its switch record
// (pg_switch_wal).
func (c *Cluster) SwitchWAL(ctx context.Context) (wal.LSN, error) {
	return c.queryLSN(ctx, "SELECT pg_switch_wal()")
}

// Checkpoint makes a checkpoint now.
func (c *Cluster) Checkpoint(ctx context.Context) error { return c.Exec(ctx, "CHECKPOINT") }

// Promote ends a standby's recovery and waits until it accepts writes.
func (c *Cluster) Promote(ctx context.Context) error {
	ok, err := c.QueryString(ctx, "SELECT pg_promote(true, "+strconv.Itoa(int(startTimeout.Seconds()))+")")
	if err != nil {
		return err
	}
	if ok != "t" {
		return c.withLog(fmt.Errorf("the standby in %s was not promoted", c.dir))
	}
	return nil
}

// Reload has the server read its configuration again and waits until new
// connections see it.
func (c *Cluster) Reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	before, err := c.QueryString(ctx, "SELECT pg_conf_load_time()")
	if err != nil {
		return err
	}
	if err := c.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	return c.WaitFor(ctx, "SELECT pg_conf_load_time() > '"+before+"'", "t")
}
