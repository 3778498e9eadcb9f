package main

import (
	"context"
	"errors"
	"fmt"
)

// catchupTable compares the archive alone with pg_receivewal, and all three
// built-in sinks with pg_receivewal.
func catchupTable(ctx context.Context, b *bench) (_ *report, err error) {
	if _, err := b.walplex(ctx); err != nil {
		return nil, err
	}
	c, err := b.newCorpus(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c.Cluster)) }()
	r := &report{
		title: "Catch-up: walplex run against pg_receivewal",
		method: c.describe() + ". Both start with an empty directory and the same slot and end when they have made everything durable; " +
			"times are of the whole process. CPU is that of the host and its sinks, and of pg_receivewal; the walsender's is in neither.",
		columns: []string{"sinks", "walplex", "pg_receivewal", "walplex, throughput", "**times as fast**", "walplex, CPU per GB", "pg_receivewal, CPU per GB", "**times the CPU**"},
	}
	archive := func(dir string) []sinkText { return []sinkText{fileSink("segment_file", "archive", dir)} }
	all := func(dir string) []sinkText {
		return append(archive(dir), fileSink("page_cache", "pages", dir), fileSink("audit", "trail", dir))
	}
	for _, row := range []struct {
		name  string
		sinks func(string) []sinkText
	}{{"`segment_file`", archive}, {"`segment_file`, `page_cache`, `audit`", all}} {
		b.say("%s against pg_receivewal", row.name)
		ps, err := pairs(ctx, b.n, c.walplex(b, row.sinks, nil), c.receivewal(b))
		if err != nil {
			return nil, err
		}
		gb := c.volume / 1e9
		r.rows = append(r.rows, []string{row.name,
			fmt.Sprintf("%.2f s", median(ps, oursElapsed)),
			fmt.Sprintf("%.2f s", median(ps, peerElapsed)),
			fmt.Sprintf("%.0f MB/s", c.volume/1e6/median(ps, oursElapsed)),
			fmt.Sprintf("**%.2f**", median(ps, faster)),
			fmt.Sprintf("%.2f s", median(ps, func(p pair) float64 { return p.ours.cpu.Seconds() / gb })),
			fmt.Sprintf("%.2f s", median(ps, func(p pair) float64 { return p.peer.cpu.Seconds() / gb })),
			fmt.Sprintf("**%.2f**", median(ps, cpuTaken)),
		})
	}
	return r, nil
}

// cpuTaken is the inverse of cpuSaved.
func cpuTaken(p pair) float64 { return p.ours.cpu.Seconds() / p.peer.cpu.Seconds() }
