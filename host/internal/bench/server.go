package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// server starts a throwaway server with these parameters beside those that keep
// its work steady: no autovacuum, and a checkpoint only when asked for. Whoever
// calls destroys it.
func (b *bench) server(ctx context.Context, conf map[string]string) (*postgres.Cluster, error) {
	all := map[string]string{
		"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "64GB", "shared_buffers": "512MB", "synchronous_commit": "off",
	}
	for name, value := range conf {
		all[name] = value
	}
	c, err := postgres.New(ctx, postgres.Options{Conf: all})
	if err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, destroy(ctx, c))
	}
	return c, nil
}

// destroy removes a server, also after the end of ctx.
func destroy(ctx context.Context, c *postgres.Cluster) error {
	return c.Destroy(context.WithoutCancel(ctx))
}

// fill makes pgbench's tables.
func (b *bench) fill(ctx context.Context, c *postgres.Cluster, scale int) error {
	b.say("pgbench's tables at scale %d", scale)
	_, err := c.Pgbench(ctx, "-i", "-q", "-s", strconv.Itoa(scale))
	return err
}

// load runs that many transactions of pgbench's own script in each of 4 clients.
func (b *bench) load(ctx context.Context, c *postgres.Cluster, transactions int) error {
	_, err := c.Pgbench(ctx, "-n", "-c", "4", "-j", "2", "-t", strconv.Itoa(transactions))
	return err
}

// loadUntil runs rounds of pgbench, a checkpoint before each, until the WAL
// reaches the LSN; it answers where it ends.
func (b *bench) loadUntil(ctx context.Context, c *postgres.Cluster, lsn wal.LSN, transactions int) (wal.LSN, error) {
	for {
		at, err := c.CurrentLSN(ctx)
		if err != nil || at >= lsn {
			return at, err
		}
		b.say("%d MB of WAL of %d", at>>20, lsn>>20)
		if err := c.Checkpoint(ctx); err != nil {
			return 0, err
		}
		if err := b.load(ctx, c, transactions); err != nil {
			return 0, fmt.Errorf("load: %w", err)
		}
	}
}
