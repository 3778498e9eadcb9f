package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// gotest is a package's test program, for its benchmarks.
type gotest struct{ path string }

func (b *bench) gotest(ctx context.Context, pkg string) (*gotest, error) {
	path := filepath.Join(b.dir, filepath.Base(pkg)+".test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, "github.com/walplex/walplex/"+pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("build the benchmarks of %s: %w\n%s", pkg, err, out)
	}
	return &gotest{path}, nil
}

// result is a line of a benchmark: its name without Benchmark and the suffix of
// GOMAXPROCS, and its numbers by unit.
type result struct {
	name  string
	units map[string]float64
}

// run runs the benchmarks of that pattern once.
func (g *gotest) run(ctx context.Context, pattern, benchtime string) ([]result, error) {
	cmd := exec.CommandContext(ctx, g.path, "-test.run=^$", "-test.bench="+pattern, "-test.benchtime="+benchtime)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	list := parseResults(string(out))
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no benchmark was run:\n%s", cmd, out)
	}
	return list, nil
}

// parseResults reads what benchmarks print (go help testflag):
//
//	BenchmarkMatch/mixed-2   123456   9.1 ns/op   0 B/op
func parseResults(text string) (list []result) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		r := result{name: name, units: map[string]float64{}}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				r.units[fields[i+1]] = v
			}
		}
		list = append(list, r)
	}
	return list
}

// middle is the median of numbers.
func middle(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
