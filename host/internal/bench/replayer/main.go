// Command replayer replays the WAL of a data directory, as a process whose cost
// can be measured:
//
//	replayer [--memory BYTES] [--cpuprofile FILE] DATADIR
//
// It prints what package replay did as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/replay"
)

func main() {
	var profile string
	var memory int
	cmd := &cobra.Command{
		Use:           "replayer DATADIR",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, profile, replay.Options{DataDir: args[0], Memory: memory})
		},
	}
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "`FILE` to write a CPU profile to")
	cmd.Flags().IntVar(&memory, "memory", replay.DefaultMemory, "`BYTES` that waiting changes may take")
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "replayer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, profile string, o replay.Options) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r, err := replay.Run(ctx, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
