package main

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of looking for pairs that nobody disturbed.
const (
	quietShare = 0.05             // of the CPUs' time that others took: no disturbance
	quietTries = 4                // pairs for each that is wanted
	quietTime  = 45 * time.Second // for all of them
)

// quietPairs is pairs for runs that do all their work themselves: where other
// processes took CPU time meanwhile, more pairs are made, within bounds, and
// those n are taken that were disturbed the least. It also answers the greatest
// share of the CPUs' time that others took in one of them.
func quietPairs(ctx context.Context, n int, ours, peer run) ([]pair, float64, error) {
	type observed struct {
		pair
		others float64
	}
	var all []observed
	begin, quiet := time.Now(), 0
	if _, err := pairs(ctx, 0, ours, peer); err != nil { // the one that does not count
		return nil, 0, err
	}
	for quiet < n && len(all) < quietTries*n && (len(all) < n || time.Since(begin) < quietTime) {
		before, from := cpuTimes(), time.Now()
		p, err := onePair(ctx, len(all)%2 == 0, ours, peer)
		if err != nil {
			return nil, 0, err
		}
		o := observed{p, cpuTimes().othersSince(before, p.ours.cpu+p.peer.cpu, time.Since(from))}
		if o.others <= quietShare {
			quiet++
		}
		all = append(all, o)
	}
	slices.SortStableFunc(all, func(a, b observed) int {
		switch {
		case a.others < b.others:
			return -1
		case a.others > b.others:
			return 1
		}
		return 0
	})
	var least []pair
	for _, o := range all[:n] {
		least = append(least, o.pair)
	}
	return least, all[n-1].others, nil
}

// usage is what all CPUs did since the system started.
type usage struct {
	busy time.Duration // of all CPUs, and what the hypervisor gave to others
	cpus int           // 0 where the system does not say
}

// othersSince is the share of the CPUs' time that others than we took.
func (u usage) othersSince(before usage, ours, elapsed time.Duration) float64 {
	if u.cpus == 0 || elapsed <= 0 {
		return 0
	}
	return max(0, (u.busy-before.busy-ours).Seconds()/(elapsed.Seconds()*float64(u.cpus)))
}

func cpuTimes() usage {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}
	}
	return parseUsage(string(b))
}

// parseUsage reads /proc/stat (proc_stat(5)): a line for all CPUs, and one each.
func parseUsage(text string) (u usage) {
	const tick = 10 * time.Millisecond // USER_HZ, 100 on every Linux that Go runs on
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu"):
		case fields[0] != "cpu":
			u.cpus++
		default:
			for _, i := range []int{1, 2, 3, 6, 7, 8} { // user nice system, irq softirq steal
				n, err := strconv.ParseInt(fields[i], 10, 64)
				if err != nil {
					return usage{}
				}
				u.busy += time.Duration(n) * tick
			}
		}
	}
	return u
}
