package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/wal"
)

func runCommand() *cobra.Command {
	var flags configFlags
	var until string
	cmd := &cobra.Command{
		Use:   "run PATH…",
		Short: "Run the configured streams",
		Long: `run reads .hcl files and directories of them as one configuration and runs its
streams until it is told to stop. SIGTERM or Ctrl-C: sinks flush what they have,
the server is told, exit. A second one: exit at once.`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().StringVar(&until, "until", "", "stop when every required sink has flushed this `LSN`, or the server's position at the start: caught-up")
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		target, err := parseUntil(until)
		if err != nil {
			return err
		}
		log, err := flags.log.logger(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		dir, remove, err := makeSocketDir()
		if err != nil {
			return failed(err)
		}
		defer remove()
		configs, diags, err := flags.load(cmd.Context(), args, dir, log)
		if err != nil {
			return err
		}
		if err := diags.WriteText(cmd.ErrOrStderr()); err != nil {
			return failed(err)
		}
		if diags.HasErrors() {
			return statusError{status: exitUsage}
		}
		var streams []*stream.Stream
		for _, c := range configs {
			c.Until = target
			streams = append(streams, stream.New(c, log))
		}
		return runStreams(cmd.Context(), streams, log)
	}
	return cmd
}

func parseUntil(s string) (stream.Until, error) {
	switch s {
	case "":
		return stream.Until{}, nil
	case "caught-up":
		return stream.Until{CaughtUp: true}, nil
	}
	lsn, err := wal.ParseLSN(s)
	if err == nil && lsn == 0 {
		err = errors.New("0/0 is no position")
	}
	if err != nil {
		return stream.Until{}, statusError{exitUsage, fmt.Errorf("--until: %w; or write caught-up", err)}
	}
	return stream.Until{LSN: lsn}, nil
}

// errSecondSignal ends everything at once.
var errSecondSignal = errors.New("ended at once by a second signal; what sinks had not flushed will be streamed again")

// runStreams runs the streams side by side: what stops one does not stop the
// others. The first signal drains them, the second ends them.
func runStreams(ctx context.Context, streams []*stream.Stream, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	drain := make(chan struct{})
	go func() {
		select {
		case sig := <-signals:
			log.Info("stopping in order; a second signal ends at once", "signal", sig.String())
			close(drain)
		case <-ctx.Done():
			return
		}
		select {
		case <-signals:
			cancel(errSecondSignal)
		case <-ctx.Done():
		}
	}()
	var wg sync.WaitGroup
	var anyFailed atomic.Bool
	for _, s := range streams {
		wg.Go(func() {
			// Logged when it happens: the other streams may go on for years.
			if err := s.Run(ctx, drain); err != nil && ctx.Err() == nil {
				anyFailed.Store(true)
				log.Error("the stream has stopped", "stream", s.Status().Name, "error", err)
			}
		})
	}
	wg.Wait()
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return failed(cause)
	case anyFailed.Load():
		return statusError{status: exitFailed}
	}
	return nil
}
