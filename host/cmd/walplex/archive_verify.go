package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/host/internal/archiveverify"
)

func archiveVerifyCommand() *cobra.Command {
	var asJSON, quiet bool
	var o archiveverify.Options
	cmd := &cobra.Command{
		Use:   "verify [--json] DIR",
		Short: "Check every page, record and timeline switch of an archive, and name its holes",
		Long: `verify reads all WAL segments in DIR, plain, compressed and .partial, of all
timelines, on all CPUs: page headers, records, checksums, back-links, the holes
between segments, history files and the switches that they tell of. Segments that are
there in several forms are compared.

WAL may end within the newest segment of a timeline. A copy of a server's pg_wal and a
directory of pg_receivewal's are archives as well; what a running server or receiver
changes meanwhile may look like a fault.

Exit status: 0 the archive is whole, 1 it has faults or holes or cannot be read, 2 the
command line is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o.Progress = new(archiveverify.Progress)
			finish := showProgress(cmd.ErrOrStderr(), o.Progress, quiet)
			report, err := archiveverify.Verify(ctx, args[0], o)
			finish(err == nil)
			if err != nil {
				return failed(fmt.Errorf("archive verify: %w", err))
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(report)
			} else {
				err = report.WriteText(cmd.OutOrStdout())
			}
			if err != nil {
				return failed(err)
			}
			if !report.Whole {
				return statusError{status: exitFailed}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "write the report as JSON")
	f.BoolVar(&quiet, "quiet", false, "show no progress and no speed on standard error")
	f.IntVarP(&o.Jobs, "jobs", "j", 0, "read with `N` threads; 0: one for each CPU")
	return cmd
}

// progressInterval is how often the progress bar is drawn.
const progressInterval = 200 * time.Millisecond

// showProgress draws a bar on a terminal until finish is called, which writes how
// fast it was.
func showProgress(w io.Writer, p *archiveverify.Progress, quiet bool) (finish func(ok bool)) {
	if quiet {
		return func(bool) {}
	}
	began := time.Now()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	bar := isTerminal(w)
	if bar {
		wg.Go(func() {
			tick := time.NewTicker(progressInterval)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					done, total := p.Done()
					fmt.Fprintf(w, "\r%s\x1b[K", progressBar(done, total, time.Since(began)))
				case <-stop:
					return
				}
			}
		})
	}
	return func(ok bool) {
		close(stop)
		wg.Wait()
		if bar {
			fmt.Fprint(w, "\r\x1b[K")
		}
		if done, _ := p.Done(); ok {
			took := time.Since(began)
			fmt.Fprintf(w, "read %s of WAL in %.1f s, %s/s\n", archiveverify.Size(done), took.Seconds(), archiveverify.Size(perSecond(done, took)))
		}
	}
}

func perSecond(n int64, d time.Duration) int64 {
	return int64(float64(n) / max(d.Seconds(), 1e-6))
}

const progressWidth = 40 // columns of the bar

// progressBar is one line of progress.
func progressBar(done, total int64, took time.Duration) string {
	part := float64(done) / float64(max(total, 1))
	full := min(int(part*progressWidth), progressWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s of %s  %s/s", strings.Repeat("#", full), strings.Repeat(".", progressWidth-full),
		100*part, archiveverify.Size(done), archiveverify.Size(total), archiveverify.Size(perSecond(done, took)))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
