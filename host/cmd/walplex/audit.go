package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/plugins/audit"
	"github.com/walplex/walplex/sdk/durable"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Work with audit trails"}
	cmd.AddCommand(&cobra.Command{
		Use:   "verify DIR",
		Short: "Check that an audit trail has neither a gap nor a doubled or damaged line",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := audit.Verify(cmd.Context(), durable.OS{}, args[0], audit.VerifyOptions{})
			if err != nil {
				return failed(err)
			}
			return printTrail(cmd.OutOrStdout(), report)
		},
	})
	return cmd
}

func printTrail(w io.Writer, r *audit.Report) error {
	fmt.Fprintf(w, "system identifier  %d\nposition           %s\nfiles              %d\nrecords            %d, from %s to %s\n",
		r.SystemID, r.Position, r.Files, r.Records, r.First, r.Last)
	for _, sw := range r.Switches {
		taken := "nothing was taken back"
		if sw.To < sw.From {
			taken = fmt.Sprintf("lines of records from %s to %s count no more", sw.To, sw.From)
		}
		fmt.Fprintf(w, "switch             timeline %d ended at %s, timeline %d followed; %s\n", sw.OldTimeline, sw.SwitchLSN, sw.NewTimeline, taken)
	}
	if r.Behind > 0 {
		fmt.Fprintf(w, "behind it          %d bytes, which are being written or will be cut\n", r.Behind)
	}
	if r.Problems > 0 {
		fmt.Fprintf(w, "problems           %d, the first is\n%s\n", r.Problems, r.Problem)
		return statusError{status: exitFailed}
	}
	verdict := "no record is missing, none is doubled"
	if r.Partial > 0 {
		verdict = fmt.Sprintf("none is doubled or out of order; whether one is missing cannot be told of %d of the files, which a filter or level leaves records out of", r.Partial)
	}
	_, err := fmt.Fprintln(w, verdict)
	return failed(err)
}
