package main

import (
	"context"
	"errors"
	"fmt"
)

// manySinks is how many sinks are compared with one.
const manySinks = 8

// maxOwnRecords is how many records a server may write by itself during a run.
const maxOwnRecords = 1000

// fanoutTable compares many sinks with one, where the sinks themselves do next to
// nothing.
func fanoutTable(ctx context.Context, b *bench) (_ *report, err error) {
	if _, err := b.walplex(ctx); err != nil {
		return nil, err
	}
	if _, err := b.nullProgram(ctx); err != nil {
		return nil, err
	}
	c, err := b.newCorpus(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c.Cluster)) }()
	var records uint64
	nulls := func(n int) run {
		return c.walplex(b, func(dir string) []sinkText { return nullSinks(n, dir) }, func(dir string, k *cost) error {
			seen, cpu, err := nullResult(dir, n)
			// The server writes a record now and then by itself.
			if err == nil && records != 0 && seen-records > maxOwnRecords {
				err = fmt.Errorf("null sinks have seen %d records, and %d before", seen, records)
			}
			records, k.others = seen, cpu
			return err
		})
	}
	ps, err := pairs(ctx, b.n, nulls(manySinks), nulls(1))
	if err != nil {
		return nil, err
	}
	r := &report{
		title: fmt.Sprintf("Fan-out: %d sinks against one", manySinks),
		method: c.describe() + fmt.Sprintf("; %.1f million records. Each sink is a process that reads the header of every record in the shared ring and keeps nothing (all have seen the same number). "+
			"The server's walsender takes CPU as well, on the same cores.", float64(records)/1e6),
		columns: []string{"sinks", "time", "throughput", "host's CPU", "a sink's CPU", "**throughput against one**", "**host's CPU against one**"},
	}
	ours, peer := func(p pair) cost { return p.ours }, func(p pair) cost { return p.peer }
	row := func(n int, of func(pair) cost, last ...string) {
		host := func(p pair) float64 { k := of(p); return (k.cpu - k.others).Seconds() }
		elapsed := func(p pair) float64 { return of(p).elapsed.Seconds() }
		r.rows = append(r.rows, append([]string{fmt.Sprint(n),
			fmt.Sprintf("%.2f s", median(ps, elapsed)),
			fmt.Sprintf("%.0f MB/s", c.volume/1e6/median(ps, elapsed)),
			fmt.Sprintf("%.2f s", median(ps, host)),
			fmt.Sprintf("%.2f s", median(ps, func(p pair) float64 { return of(p).others.Seconds() / float64(n) })),
		}, last...))
	}
	row(1, peer, "", "")
	row(manySinks, ours, fmt.Sprintf("**%.2f**", median(ps, faster)),
		fmt.Sprintf("**%.2f**", median(ps, func(p pair) float64 {
			return (p.ours.cpu - p.ours.others).Seconds() / (p.peer.cpu - p.peer.others).Seconds()
		})))
	return r, nil
}
