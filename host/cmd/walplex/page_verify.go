package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/pages"
)

func pageVerifyCommand() *cobra.Command {
	var source pageSource
	var o pages.VerifyOptions
	var asJSON, quiet bool
	cmd := &cobra.Command{
		Use:   "verify --from SOCKET DATADIR",
		Short: "Compare every page of a stopped server's data directory with the sink's",
		Long: `verify reads every relation file of DATADIR, in all tablespaces, the states of
transactions and multixacts, commit times and relation maps, and compares each page
with what the sink has as of the server's shutdown, which it waits for. The server has
to be stopped in order.

Compared is what WAL carries: hint bits and the like are passed over as the server's
own check of its WAL passes over them, pages that were never logged equal empty ones,
and sequences may be behind by the values logged in advance. Left out are free space
maps, temporary relations, and unlogged relations but for their init forks. A block
that only one side has is a difference.

Exit status: 0 all pages are equal, 1 some differ or cannot be compared, 2 the command
line is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			client, err := source.dial()
			if err != nil {
				return failed(fmt.Errorf("page verify: %w", err))
			}
			defer client.Close() // nothing is in flight any more
			o.Client, o.DataDir, o.Progress = client, args[0], new(pages.Progress)
			finish := showPages(cmd.ErrOrStderr(), o.Progress, quiet)
			report, err := pages.Verify(ctx, o)
			finish(err == nil)
			if err != nil {
				return failed(fmt.Errorf("page verify: %w", err))
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
			if !report.Equal() {
				return statusError{status: exitFailed}
			}
			return nil
		},
	}
	source.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&o.Wait, "wait", pages.DefaultVerifyWait, "how long to wait for the sink to reach the server's shutdown")
	f.BoolVar(&asJSON, "json", false, "write the report as JSON")
	f.BoolVar(&quiet, "quiet", false, "show no progress on standard error")
	return cmd
}
