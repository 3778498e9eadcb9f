package demo

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// pgbench is a run of it beside us.
type pgbench struct {
	done chan struct{}
	out  string // read, as err, after done
	err  error
}

// beginLoad starts pgbench's own transactions, and is done at half of their time.
func (d *demo) beginLoad(ctx context.Context) (string, error) {
	b := &pgbench{done: make(chan struct{})}
	go func() {
		defer close(b.done)
		b.out, b.err = d.cluster.Pgbench(ctx, "-c", strconv.Itoa(clients), "-T", strconv.Itoa(int(d.o.Load/time.Second)))
	}()
	d.bench = b
	half := time.NewTimer(d.o.Load / 2)
	defer half.Stop()
	select {
	case <-half.C:
		return "", nil
	case <-b.done:
		if b.err == nil {
			b.err = fmt.Errorf("pgbench has ended after less than half of %s:\n%s", d.o.Load, b.out)
		}
		return "", b.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

var tpsPattern = regexp.MustCompile(`(?m)^tps = (\d+)`)

// endLoad waits for pgbench's end.
func (d *demo) endLoad(ctx context.Context) (string, error) {
	select {
	case <-d.bench.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if d.bench.err != nil {
		return "", d.bench.err
	}
	m := tpsPattern.FindStringSubmatch(d.bench.out)
	if m == nil {
		return "", fmt.Errorf("pgbench does not say its transactions a second:\n%s", d.bench.out)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	d.load.transactions = group(n)
	return d.load.transactions + " transactions/s", err
}
