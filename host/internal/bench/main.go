package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// defaultPairs is how many pairs of runs make a median.
const defaultPairs = 7

// minPairs is the least.
const minPairs = 5

func main() {
	var b bench
	cmd := &cobra.Command{
		Use:           "bench [TABLE …]",
		Short:         "Print tables of ratios against peers: " + strings.Join(names(), ", ") + " (default: all)",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return b.run(ctx, os.Stdout, names)
		},
	}
	cmd.Flags().IntVar(&b.n, "pairs", defaultPairs, "pairs of runs a median is taken of")
	cmd.Flags().StringVar(&b.binary, "binary", "", "walplex to measure (default: built from this tree)")
	cmd.Flags().DurationVar(&b.stall, "stall", time.Minute, "how long a sink is stopped in each run of the table stall")
	cmd.Flags().Int64Var(&b.lag, "lag", 10e9, "`BYTES` that a sink falls behind in the table memory")
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what tables are made with.
type bench struct {
	n      int           // pairs
	stall  time.Duration // of the table stall's sink
	lag    int64         // of the table memory's sink, bytes
	binary string        // walplex
	dir    string        // for the run's files; it is removed
	log    io.Writer     // for progress
}

// table is something that is measured.
type table struct {
	name string
	make func(context.Context, *bench) (*report, error)
}

// tables are all there are.
func tables() []table {
	return []table{
		{"waldump", waldumpTable},
		{"catchup", catchupTable},
		{"fanout", fanoutTable},
		{"transport", transportTable},
		{"filter", filterTable},
		{"synchronous", synchronousTable},
		{"stall", stallTable},
		{"memory", memoryTable},
		{"redo", redoTable},
		{"pages", pagesTable},
	}
}

func names() (names []string) {
	for _, t := range tables() {
		names = append(names, t.name)
	}
	return names
}

// run makes the tables of these names, or all, and prints each as it is done.
func (b *bench) run(ctx context.Context, out io.Writer, wanted []string) (err error) {
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("there is no table %q: want %s", name, strings.Join(names(), ", "))
		}
	}
	if b.n < minPairs {
		return fmt.Errorf("a median of %d pairs says too little: want %d or more", b.n, minPairs)
	}
	// /tmp and not os.TempDir, which the server's user may not be able to enter.
	if b.dir, err = os.MkdirTemp("/tmp", "walplex-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.log = os.Stderr
	if err := printMachine(ctx, out, b.n); err != nil {
		return err
	}
	for _, t := range tables() {
		if len(wanted) > 0 && !slices.Contains(wanted, t.name) {
			continue
		}
		r, err := t.make(ctx, b)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
		if err := r.print(out); err != nil {
			return err
		}
	}
	return nil
}

// say tells whoever waits what is being done.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// walplex is the path of the program that is measured.
func (b *bench) walplex(ctx context.Context) (string, error) {
	if b.binary != "" {
		return b.binary, nil
	}
	path := filepath.Join(b.dir, "walplex")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/walplex/walplex/host/cmd/walplex").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build walplex: %w\n%s", err, out)
	}
	b.binary = path
	return path, nil
}
