package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/control"
	"github.com/walplex/walplex/host/internal/fleet"
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
		staySmall()
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
		load := func(ctx context.Context) ([]stream.Config, config.Diagnostics, error) {
			return flags.load(ctx, args, dir, log)
		}
		configs, diags, err := load(cmd.Context())
		if err != nil {
			return err
		}
		if err := diags.WriteText(cmd.ErrOrStderr()); err != nil {
			return failed(err)
		}
		if diags.HasErrors() {
			return statusError{status: exitUsage}
		}
		r := &reloader{fleet: fleet.New(target, log), host: &flags.host, load: load, log: log}
		if r.out, err = startOutside(cmd.Context(), flags.host, r.fleet.Status, r, log); err != nil {
			return failed(err)
		}
		defer r.out.close(cmd.Context())
		r.out.show(cmd.Context(), configs)
		return runStreams(cmd.Context(), r, configs)
	}
	return cmd
}

// gcPercent is how much garbage the host's heap may hold, in per cent of what
// lives. Little is allocated for each block, and what lives is small: collecting
// twice as often as by default costs nothing that can be measured.
const gcPercent = 50

// staySmall keeps the host's memory near what it needs, unless the environment
// says otherwise.
func staySmall() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
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

// runStreams runs the streams side by side. The first SIGTERM drains them, the
// second ends them; SIGHUP has the configuration read again.
func runStreams(ctx context.Context, r *reloader, configs []stream.Config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals, hups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	drain := make(chan struct{})
	go func() {
		select {
		case sig := <-signals:
			r.log.Info("stopping in order; a second signal ends at once", "signal", sig.String())
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
	go func() {
		for {
			select {
			case <-hups:
				_, _ = r.Reload(ctx) // it has logged what became of it
			case <-ctx.Done():
				return
			}
		}
	}()
	err := r.fleet.Run(ctx, drain, configs)
	if errors.Is(err, fleet.ErrFailed) {
		return statusError{status: exitFailed} // the log has said why
	}
	return failed(err)
}

// reloader has the configuration read again.
type reloader struct {
	fleet *fleet.Fleet
	out   *outside
	host  *config.Host // as load has read it last
	load  func(context.Context) ([]stream.Config, config.Diagnostics, error)
	log   *slog.Logger
	mu    sync.Mutex // one at a time
}

// Reload reads the configuration again. When it is wrong nothing is changed, and
// the error holds all that is wrong with it.
func (r *reloader) Reload(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what, err := r.reload(ctx)
	switch {
	case err != nil:
		r.log.Error("the configuration was not taken over", "error", err)
	case len(what) == 0:
		r.log.Info("the configuration was read again; it is the same")
	}
	return what, err
}

func (r *reloader) reload(ctx context.Context) ([]string, error) {
	configs, diags, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	if diags.HasErrors() {
		var text strings.Builder
		if err := diags.WriteText(&text); err != nil {
			return nil, err
		}
		return nil, &control.InvalidError{Text: "the new configuration is wrong; nothing was changed\n" + strings.TrimRight(text.String(), "\n")}
	}
	what, err := r.fleet.Reload(ctx, configs)
	if err == nil {
		r.out.show(ctx, configs)
		what = append(what, r.out.stays(*r.host)...)
	}
	return what, err
}
