package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/host/internal/control"
	"github.com/walplex/walplex/host/internal/status"
)

// Where the control socket is looked for when nothing says where it is.
const (
	controlVariable = "WALPLEX_CONTROL"
	defaultControl  = "/run/walplex/control.sock"
)

// watchInterval is the time between two screens of --watch.
const watchInterval = 2 * time.Second

// controlFlags find a running host.
type controlFlags struct {
	socket string
	config configFlags
}

func (f *controlFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.socket, "control", "", "control `SOCKET` of the host; without it host.control of the configuration PATH…, then $"+controlVariable+", then "+defaultControl)
	f.config.addVars(cmd)
}

// client leads to the host that the command line means.
func (f *controlFlags) client(paths []string) (*control.Client, error) {
	if f.socket != "" {
		return control.NewClient(f.socket), nil
	}
	if len(paths) == 0 {
		return control.NewClient(cmp.Or(os.Getenv(controlVariable), defaultControl)), nil
	}
	// Errors elsewhere in the file, a variable that is not set here for one, do not
	// change where the socket is.
	cfg, diags, err := f.config.read(paths)
	switch {
	case err != nil:
		return nil, err
	case cfg != nil && cfg.Host.Control != "":
		return control.NewClient(cfg.Host.Control), nil
	case diags.HasErrors():
		return nil, statusError{exitUsage, errors.New(diags.String())}
	}
	return nil, statusError{exitUsage, errors.New("the configuration has no host.control, so its host listens nowhere; set it, or give --control")}
}

func statusCommand() *cobra.Command {
	var flags controlFlags
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status [PATH…]",
		Short: "Show how a running host, its streams and its sinks stand",
		Long: `status asks a running host through its control socket (host.control).

Exit status 0: all is well. 1: somebody should look, because a stream has failed or
is interrupted, a required sink is down or off, WAL that is needed is gone, or a
server's slot comes close to its end; or because no host answers. 2: usage.

LAG is how far a sink's flush position is behind the server, AGE how old the oldest
WAL is that was received and that it has not flushed, QUEUE what it was sent and has
not worked off.`,
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON; go doc github.com/walplex/walplex/host/internal/status describes it")
	cmd.Flags().BoolVar(&watch, "watch", false, fmt.Sprintf("show it anew every %s, until Ctrl-C", watchInterval))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asJSON && watch {
			return statusError{exitUsage, errors.New("--json and --watch exclude each other")}
		}
		client, err := flags.client(args)
		if err != nil {
			return err
		}
		if watch {
			return watchStatus(cmd.Context(), cmd.OutOrStdout(), client)
		}
		report, raw, err := client.Status(cmd.Context())
		if err != nil {
			return failed(err)
		}
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), raw)
		} else {
			err = report.WriteText(cmd.OutOrStdout(), screenOf(cmd.OutOrStdout()))
		}
		if err != nil {
			return failed(err)
		}
		return verdict(&report)
	}
	return cmd
}

// verdict is the exit status of a report that was printed.
func verdict(r *status.Report) error {
	if r.OK {
		return nil
	}
	return statusError{status: exitFailed}
}

func printJSON(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

// watchStatus shows reports until it is interrupted; the last gives the exit status.
func watchStatus(ctx context.Context, w io.Writer, client *control.Client) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last error
	for {
		report, _, err := client.Status(ctx)
		if ctx.Err() != nil {
			return last
		}
		var b bytes.Buffer
		b.WriteString("\x1b[H\x1b[2J")
		if err != nil {
			fmt.Fprintf(&b, "walplex: %v\n", err)
			last = statusError{status: exitFailed}
		} else {
			last = verdict(&report)
			err = report.WriteText(&b, screenOf(w))
			if err != nil {
				return failed(err)
			}
		}
		if _, err := b.WriteTo(w); err != nil {
			return failed(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return last
		}
	}
}

// screenOf is what w shows: as wide as the terminal; without limit where it is none.
func screenOf(w io.Writer) status.Screen {
	f, ok := w.(*os.File)
	if !ok {
		return status.Screen{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return status.Screen{}
	}
	return status.Screen{Width: int(size.Col), Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}
