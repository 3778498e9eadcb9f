package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/demo"
	"github.com/walplex/walplex/host/internal/stream"
)

// maxDemoSeconds bounds a demonstration: all WAL of it is kept.
const maxDemoSeconds = 3600

func demoCommand() *cobra.Command {
	var o demo.Options
	var seconds int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show and prove everything on a throwaway PostgreSQL server",
		Long: `demo starts a PostgreSQL server of its own and streams its WAL to the three
built-in sinks while pgbench writes. In the middle of that it drops a table, and reads
its rows back from the page cache. It proves the result: the rows are what they were,
the archive is pg_wal byte for byte, the audit trail has every record once, and the
page cache has every page of the server. Nothing of it is left behind. Exit status 0
means that everything was proved; else the error says what was not.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&seconds, "seconds", 10, "run pgbench for `N` seconds")
	cmd.Flags().IntVar(&o.Scale, "scale", 10, "pgbench's scale `FACTOR`: 100,000 accounts each")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "keep the directory of the run, and print its name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if seconds < 1 || seconds > maxDemoSeconds || o.Scale < 1 {
			return statusError{exitUsage, fmt.Errorf("--seconds is 1 to %d, --scale is at least 1", maxDemoSeconds)}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		// Taken, so that an output that is gone is an error and not our end.
		pipe := make(chan os.Signal, 1)
		signal.Notify(pipe, syscall.SIGPIPE)
		defer signal.Stop(pipe)
		dir, remove, err := makeSocketDir()
		if err != nil {
			return failed(err)
		}
		defer remove()
		o.Load, o.Out = time.Duration(seconds)*time.Second, cmd.OutOrStdout()
		o.Plan = func(ctx context.Context, path string, log *slog.Logger) ([]stream.Config, error) {
			var flags configFlags
			configs, diags, err := flags.load(ctx, []string{path}, dir, log)
			if err == nil && diags.HasErrors() {
				err = errors.New(diags.String())
			}
			return configs, err
		}
		return failed(demo.Run(ctx, o))
	}
	return cmd
}
