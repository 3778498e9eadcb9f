package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/walplex/walplex/host/internal/control"
	"github.com/walplex/walplex/host/internal/status"
)

// stallTable is what a sink that is stopped costs the others.
func stallTable(ctx context.Context, b *bench) (_ *report, err error) {
	if _, err := b.walplex(ctx); err != nil {
		return nil, err
	}
	c, err := b.newCommits(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c.Cluster)) }()
	optional := func(dir string) []sinkText {
		list := nullSinks(1, dir)
		list[0].lines = []string{"required = false"}
		return list
	}
	with := func(stall bool) run {
		return func(ctx context.Context) (k cost, err error) {
			var held memory
			k, err = c.rate(ctx, b.stall, syscall.SIGTERM, c.ours(ctx, optional), func(dir string, pid int) (func() error, error) {
				sink, err := sinkStatus(ctx, dir, "null0")
				if err != nil {
					return nil, err
				}
				if stall {
					if err := syscall.Kill(sink.PID, syscall.SIGSTOP); err != nil {
						return nil, err
					}
				}
				return func() error {
					m, err := memoryOf(pid)
					held = m
					// The host may have ended it meanwhile, for its silence.
					if e := syscall.Kill(sink.PID, syscall.SIGCONT); e != nil && !errors.Is(e, syscall.ESRCH) {
						err = errors.Join(err, e)
					}
					return err
				}, nil
			})
			k.held = held
			return k, err
		}
	}
	b.say("a sink that is stopped for %s", b.stall)
	ps, err := pairs(ctx, b.n, with(true), with(false))
	if err != nil {
		return nil, err
	}
	mib := func(of func(pair) cost, part func(memory) int64) string {
		return fmt.Sprintf("%.0f MiB", median(ps, func(p pair) float64 { return float64(part(of(p).held)) / (1 << 20) }))
	}
	rate := func(of func(pair) cost) string {
		return fmt.Sprintf("%.0f /s", median(ps, func(p pair) float64 { return of(p).rate }))
	}
	ours, peer := func(p pair) cost { return p.ours }, func(p pair) cost { return p.peer }
	row := func(what string, of func(pair) cost, last string) []string {
		return []string{what, rate(of), mib(of, func(m memory) int64 { return m.resident }), mib(of, func(m memory) int64 { return m.anonymous }),
			mib(of, func(m memory) int64 { return m.shared }), last}
	}
	return &report{
		title: "A stalled sink",
		method: fmt.Sprintf("pgbench at scale %d with %s clients, as fast as they get; commits wait for `segment_file`'s flush. Beside it there is a sink that is not required (`on_lag` at its default, catch_up), "+
			"which is stopped with SIGSTOP for the whole run of %s, or not. Memory is the host's at the end; shared memory is the ring's. "+
			"A sink that has been silent for 30 s is ended and started again, and then caught up: that is in the figures where the run is longer.", syncScale, syncClients, b.stall),
		columns: []string{"the other sink", "transactions", "host, resident (VmRSS)", "anonymous (RssAnon)", "shared (RssShmem)", "**transactions against those without a stall**"},
		rows: [][]string{
			row("runs", peer, ""),
			row("is stopped", ours, fmt.Sprintf("**%.2f**", median(ps, moreRate))),
		},
	}, nil
}

// sinkStatus asks the host in dir for a sink.
func sinkStatus(ctx context.Context, dir, name string) (status.Sink, error) {
	report, _, err := control.NewClient(controlSocket(dir)).Status(ctx)
	if err != nil {
		return status.Sink{}, err
	}
	for _, s := range report.Streams[0].Sinks {
		if s.Name == name {
			return s, nil
		}
	}
	return status.Sink{}, fmt.Errorf("the host has no sink %q", name)
}
