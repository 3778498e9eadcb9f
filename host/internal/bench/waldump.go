package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os/exec"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// The WAL that is dumped.
const (
	waldumpScale  = 20
	waldumpRound  = 25_000              // transactions of each of 4 clients between two checkpoints
	waldumpVolume = wal.LSN(1100 << 20) // bytes
	waldumpMB     = 1e6
)

// waldumpTable compares `walplex waldump` with pg_waldump over pgbench's WAL.
func waldumpTable(ctx context.Context, b *bench) (_ *report, err error) {
	walplex, err := b.walplex(ctx)
	if err != nil {
		return nil, err
	}
	c, err := b.server(ctx, map[string]string{"wal_keep_size": "64GB"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c)) }()
	// The first segment that there is; initdb's records before it are few.
	start, err := c.CurrentLSN(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.fill(ctx, c, waldumpScale); err != nil {
		return nil, err
	}
	end, err := b.loadUntil(ctx, c, start+waldumpVolume, waldumpRound)
	if err != nil {
		return nil, err
	}
	if err := c.Stop(ctx, postgres.Fast); err != nil {
		return nil, err
	}
	tool := c.Tool(ctx, "pg_waldump") // as ourselves, who may read what the server's user wrote
	if tool.Err != nil {
		return nil, tool.Err
	}
	d := dumps{
		walplex: walplex, peer: tool.Path,
		span: []string{"--path", c.WALDir(), "--start", start.String(), "--end", end.String()}, volume: float64(end - start),
	}
	r := &report{
		title:   "walplex waldump against pg_waldump",
		method:  fmt.Sprintf("%.2f GB of WAL in 16 MB segments: pgbench's tables at scale %d, then its own script with a checkpoint every %d transactions, so that page images make up about half. Both read the same segments from the page cache and write to /dev/null; their outputs are equal byte for byte (checked before).", d.volume/1e9, waldumpScale, 4*waldumpRound),
		columns: []string{"output", "goroutines", "walplex", "pg_waldump", "walplex, throughput", "**times as fast**", "pg_waldump's CPU time ÷ walplex's", "others' share of the CPUs, at most"},
	}
	for _, row := range []struct{ name, option string }{{"statistics (`--stats`)", "--stats"}, {"text", ""}} {
		for jobs := 1; jobs <= 2; jobs++ {
			cells, err := d.row(ctx, b, row.option, jobs)
			if err != nil {
				return nil, err
			}
			r.rows = append(r.rows, append([]string{row.name, fmt.Sprint(jobs)}, cells...))
		}
	}
	return r, nil
}

// dumps are two programs and what they dump.
type dumps struct {
	walplex, peer string
	span          []string
	volume        float64 // bytes
}

// row measures one way to dump it.
func (d *dumps) row(ctx context.Context, b *bench, option string, jobs int) ([]string, error) {
	theirs := append([]string{}, d.span...)
	if option != "" {
		theirs = append(theirs, option)
	}
	ours := append([]string{"waldump", fmt.Sprintf("--jobs=%d", jobs)}, theirs...)
	b.say("%s %v", d.walplex, ours)
	if err := sameOutput(exec.CommandContext(ctx, d.walplex, ours...), exec.CommandContext(ctx, d.peer, theirs...)); err != nil {
		return nil, err
	}
	all, others, err := quietPairs(ctx, b.n, program(d.walplex, ours...), program(d.peer, theirs...))
	if err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("%.3f s", median(all, oursElapsed)),
		fmt.Sprintf("%.3f s", median(all, peerElapsed)),
		fmt.Sprintf("%.0f MB/s", d.volume/waldumpMB/median(all, oursElapsed)),
		fmt.Sprintf("**%.2f**", median(all, faster)),
		fmt.Sprintf("%.2f", median(all, cpuSaved)),
		fmt.Sprintf("%.0f %%", 100*others),
	}, nil
}

// sameOutput checks that two commands print the same.
func sameOutput(a, b *exec.Cmd) error {
	var sums [2][]byte
	for i, cmd := range []*exec.Cmd{a, b} {
		h := sha256.New()
		cmd.Stdout = h
		if _, err := measure(cmd); err != nil {
			return err
		}
		sums[i] = h.Sum(nil)
	}
	if string(sums[0]) != string(sums[1]) {
		return fmt.Errorf("%s and %s print different things", a, b)
	}
	return nil
}
