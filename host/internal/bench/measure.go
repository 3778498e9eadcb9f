package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// cost is what a run took.
type cost struct {
	elapsed time.Duration
	cpu     time.Duration // user and system
	others  time.Duration // of that, other processes' than the measured one, where a table knows it
	memory  int64         // most that was resident, bytes
	held    memory        // at the end, where a table looks
	rate    float64       // what a table counts, by the second
}

// measure runs a command to its end. Its output goes where the command says, by
// default nowhere; an error has the end of what it said on standard error, if
// that goes nowhere else.
func measure(cmd *exec.Cmd) (cost, error) {
	var stderr bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	begin := time.Now()
	err := cmd.Run()
	c := cost{elapsed: time.Since(begin)}
	if err != nil {
		return c, fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(stderr.Bytes()))
	}
	c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return c, errors.New("this system does not say what a process cost")
	}
	c.memory = usage.Maxrss << 10 // KiB on Linux
	return c, nil
}

// run is something to measure.
type run func(context.Context) (cost, error)

// program is the run of a program with arguments.
func program(path string, args ...string) run {
	return func(ctx context.Context) (cost, error) { return measure(exec.CommandContext(ctx, path, args...)) }
}

// pair is a run of ours and one of the peer's, one right after the other.
type pair struct{ ours, peer cost }

// pairs makes n pairs whose order alternates, after one that does not count.
func pairs(ctx context.Context, n int, ours, peer run) ([]pair, error) {
	var all []pair
	for i := range n + 1 {
		p, err := onePair(ctx, i%2 == 0, ours, peer)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			all = append(all, p)
		}
	}
	return all, nil
}

func onePair(ctx context.Context, oursFirst bool, ours, peer run) (p pair, err error) {
	if oursFirst {
		p.ours, err = ours(ctx)
	}
	if err == nil {
		p.peer, err = peer(ctx)
	}
	if err == nil && !oursFirst {
		p.ours, err = ours(ctx)
	}
	return p, err
}

// median of what a function says of each pair; with an even number of them, the
// mean of the two in the middle.
func median(all []pair, of func(pair) float64) float64 {
	var values []float64
	for _, p := range all {
		values = append(values, of(p))
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// What medians are usually taken of.
func faster(p pair) float64      { return p.peer.elapsed.Seconds() / p.ours.elapsed.Seconds() }
func cpuSaved(p pair) float64    { return p.peer.cpu.Seconds() / p.ours.cpu.Seconds() }
func oursElapsed(p pair) float64 { return p.ours.elapsed.Seconds() }
func moreRate(p pair) float64    { return p.ours.rate / p.peer.rate }
func peerElapsed(p pair) float64 { return p.peer.elapsed.Seconds() }
