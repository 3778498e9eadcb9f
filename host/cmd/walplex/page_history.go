package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/pages"
	"github.com/walplex/walplex/sdk/pageclient"
)

func pageHistoryCommand() *cobra.Command {
	var source pageSource
	var name pageName
	var after, lsn string
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history --from SOCKET --relation SPC/DB/REL --block N",
		Short: "Show the records that touched a page, as pg_waldump describes them",
		Long: `history writes one line for each record that changed the page, or made, cut or dropped
what it lies in, in the order of the WAL. Times are UTC. [image] marks a record that
brings the whole page, [init] one that makes it anew, [implied] one that changes a page
of a visibility map without naming it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := pageclient.HistoryRequest{To: pageclient.AsOf{Wait: wait}}
			var err error
			if r.Page, err = name.parse(); err != nil {
				return failed(err)
			}
			if r.From, err = parseLSN(after); err != nil {
				return failed(err)
			}
			if r.To.LSN, err = parseLSN(lsn); err != nil {
				return failed(err)
			}
			client, err := source.dial()
			if err != nil {
				return failed(err)
			}
			defer client.Close() // nothing is in flight any more
			return failed(pages.History(cmd.Context(), cmd.OutOrStdout(), client, r, asJSON))
		},
	}
	source.flags(cmd)
	name.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&after, "after", "", "records that end after this `LSN`; without it, all that the sink has")
	f.StringVar(&lsn, "lsn", "", "records that end at or before this `LSN`; without it, up to the last")
	f.DurationVar(&wait, "wait", pageclient.DefaultWait, "how long to wait for the LSN")
	f.BoolVar(&asJSON, "json", false, "write each record as a JSON object on a line")
	return cmd
}

func pageDiffCommand() *cobra.Command {
	var source pageSource
	var name pageName
	var from, to string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "diff --from SOCKET --relation SPC/DB/REL --block N --from-lsn LSN [--to-lsn LSN]",
		Short: "Show what changed on a page between two LSNs",
		Long: `diff reads the page as of both LSNs and writes the fields of its header that differ,
then line pointer by line pointer what became of it and of its tuple: of a table's rows
field by field, of others in hexadecimal.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			page, err := name.parse()
			if err != nil {
				return failed(err)
			}
			first, err := parseLSN(from)
			if err != nil {
				return failed(fmt.Errorf("--from-lsn: %w", err))
			}
			last, err := parseLSN(to)
			if err != nil {
				return failed(fmt.Errorf("--to-lsn: %w", err))
			}
			client, err := source.dial()
			if err != nil {
				return failed(err)
			}
			defer client.Close() // nothing is in flight any more
			return failed(pages.Diff(cmd.Context(), cmd.OutOrStdout(), client, page,
				pageclient.AsOf{LSN: first, Wait: wait}, pageclient.AsOf{LSN: last, Wait: wait}))
		},
	}
	source.flags(cmd)
	name.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&from, "from-lsn", "", "the page as of this `LSN`")
	f.StringVar(&to, "to-lsn", "", "and as of this `LSN`; without it, of the last that the sink has")
	f.DurationVar(&wait, "wait", pageclient.DefaultWait, "how long to wait for an LSN")
	_ = cmd.MarkFlagRequired("from-lsn")
	return cmd
}
