package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/walplex/walplex/host/internal/status"
	"github.com/walplex/walplex/sdk/wal"
)

// How the lag grows.
const (
	lagPause  = "50ms"                 // of the slow sink for each batch: 5 MB/s
	lagBegin  = 256 << 20              // bytes of lag from which memory is looked at: all is warm
	lagSample = 100 * time.Millisecond // between two looks
	lagLimit  = 15 * time.Minute       // for all of it
	bulkSize  = 512 << 20              // bytes of a statement that makes WAL, at most
	bulkEach  = 8000                   // bytes of a record
)

// memory is what a process holds (proc_pid_status(5)), bytes.
type memory struct{ resident, anonymous, shared int64 }

func memoryOf(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	return parseMemory(string(text))
}

func parseMemory(text string) (m memory, err error) {
	into := map[string]*int64{"VmRSS": &m.resident, "RssAnon": &m.anonymous, "RssShmem": &m.shared}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		p, ok := into[name]
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return m, err
		}
		*p = kib << 10
		delete(into, name)
	}
	if len(into) > 0 {
		return m, errors.New("the system does not say what memory a process holds")
	}
	return m, nil
}

// held is what the host holds at a lag.
type held struct {
	lag int64
	memory
}

// memoryTable looks at the host's memory while a sink falls behind.
func memoryTable(ctx context.Context, b *bench) (_ *report, err error) {
	if _, err := b.walplex(ctx); err != nil {
		return nil, err
	}
	null, err := b.nullProgram(ctx)
	if err != nil {
		return nil, err
	}
	c, err := b.bulk(ctx, b.lag+b.lag/20)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c.Cluster)) }()
	samples, err := b.fallBehind(ctx, c, null)
	if err != nil {
		return nil, err
	}
	r := &report{
		title: fmt.Sprintf("Memory of the host while a sink falls %.0f GB behind", float64(b.lag)/1e9),
		method: fmt.Sprintf("%.1f GB of WAL go to two sinks that keep nothing. One is slow (%s a batch) and not required, with `on_lag` at its default: the stream leaves it behind, and serves it from the server beside the stream. "+
			"One run, %d looks at the host. Shared memory is the ring's, which the sinks map too.", c.volume/1e9, lagPause, len(samples)),
		columns: []string{"lag of the slow sink", "resident (VmRSS)", "anonymous (RssAnon)", "shared (RssShmem)"},
	}
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	for i := range 5 {
		at := lagBegin + (b.lag-lagBegin)/4*int64(i)
		k := slices.IndexFunc(samples, func(s held) bool { return s.lag >= at })
		if k < 0 {
			continue
		}
		s := samples[k]
		r.rows = append(r.rows, []string{fmt.Sprintf("%.1f GB", float64(s.lag)/1e9), mib(s.resident), mib(s.anonymous), mib(s.shared)})
	}
	spread := func(of func(held) int64) string {
		low, high := of(samples[0]), of(samples[0])
		var all []float64
		for _, s := range samples {
			low, high = min(low, of(s)), max(high, of(s))
			all = append(all, float64(of(s)))
		}
		m := middle(all)
		return fmt.Sprintf("**%+.0f … %+.0f %%**", 100*(float64(low)/m-1), 100*(float64(high)/m-1))
	}
	r.rows = append(r.rows, []string{"**all looks, against their median**", spread(func(s held) int64 { return s.resident }),
		spread(func(s held) int64 { return s.anonymous }), spread(func(s held) int64 { return s.shared })})
	return r, nil
}

// bulk makes a server at rest with so much WAL.
func (b *bench) bulk(ctx context.Context, volume int64) (_ *corpus, err error) {
	c, err := b.server(ctx, map[string]string{"wal_keep_size": strconv.FormatInt(volume>>20+1024, 10) + "MB"})
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
	start, err := c.CurrentLSN(ctx)
	if err != nil {
		return nil, err
	}
	for at := start; at < start+wal.LSN(volume); {
		b.say("%d MB of WAL of %d", (at-start)>>20, volume>>20)
		if err := c.Exec(ctx, fmt.Sprintf("SELECT pg_logical_emit_message(false, 'bulk', repeat('x', %d)) FROM generate_series(1, %d)", bulkEach, min(volume, bulkSize)/bulkEach+1)); err != nil {
			return nil, err
		}
		if at, err = c.CurrentLSN(ctx); err != nil {
			return nil, err
		}
	}
	return b.rest(ctx, c, start)
}

// fallBehind runs a host with a slow sink until its lag is there.
func (b *bench) fallBehind(ctx context.Context, c *corpus, null string) (samples []held, err error) {
	dir, err := b.fresh()
	if err != nil {
		return nil, err
	}
	defer remove(dir, &err)
	sinks := nullSinks(2, dir)
	sinks[1].lines = []string{"required = false"}
	sinks[1].config = append(sinks[1].config, fmt.Sprintf("pause = %q", lagPause))
	conf := configuration{dsn: c.DSN(), slot: runSlot, null: null, sinks: sinks}
	path, err := conf.write(dir)
	if err != nil {
		return nil, err
	}
	if err := c.slot(ctx); err != nil {
		return nil, err
	}
	p, err := startBackground(exec.CommandContext(ctx, b.binary, "run", path), dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = p.end(syscall.SIGKILL) // what it would still do is of no interest
	}()
	ctx, cancel := context.WithTimeout(ctx, lagLimit)
	defer cancel()
	tick := time.NewTicker(lagSample)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case err := <-p.done:
			p.done <- err
			return nil, p.explain(errors.Join(errors.New("it has ended"), err))
		case <-ctx.Done():
			return nil, p.explain(fmt.Errorf("the lag has not grown to %d bytes: %w", b.lag, context.Cause(ctx)))
		}
		slow, err := sinkStatus(ctx, dir, "null1")
		fast, err2 := sinkStatus(ctx, dir, "null0")
		if err != nil || err2 != nil {
			continue // it has just started
		}
		// Of the stream: the server has had all of it from the beginning.
		lag := int64(fast.FlushedLSN) - int64(max(slow.WrittenLSN, status.LSN(c.start)))
		if lag < lagBegin {
			continue
		}
		m, err := memoryOf(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		samples = append(samples, held{lag, m})
		if lag >= b.lag {
			return samples, nil
		}
	}
}
