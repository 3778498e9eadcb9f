package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/pages"
	"github.com/walplex/walplex/sdk/pageclient"
)

func pageExportCommand() *cobra.Command {
	var source pageSource
	var o pages.ExportOptions
	var relation, lsn string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "export --from SOCKET --relation SPC/DB/REL --to DIR",
		Short: "Write a relation's files as of an LSN, as a server reads them",
		Long: `export writes the files of all forks of the relation to DIR, in segments of 1 GiB, as
they were at --lsn. The files are durable and get their names when all are written; none
is replaced. With --checksums each page has its checksum, which a cluster with data
checksums asks for.

A stopped server reads them in place of its own: remove all of the relation's files,
free space map and visibility map included, and put these there. What other relations
say of it, its indexes above all, is of another time then: REINDEX.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			var err error
			if o.Rel, err = pageclient.ParseRelation(relation); err != nil {
				return failed(err)
			}
			if o.At.LSN, err = parseLSN(lsn); err != nil {
				return failed(err)
			}
			if o.Client, err = source.dial(); err != nil {
				return failed(err)
			}
			defer o.Client.Close() // nothing is in flight any more
			o.Progress = new(pages.Progress)
			finish := showPages(cmd.ErrOrStderr(), o.Progress, quiet)
			at, files, err := pages.Export(ctx, o)
			finish(err == nil)
			if err != nil {
				return failed(fmt.Errorf("page export: %w", err))
			}
			for _, f := range files {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %d blocks as of %s\n", filepath.Join(o.To, f.Name), f.Blocks, at); err != nil {
					return failed(err)
				}
			}
			return nil
		},
	}
	source.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&relation, "relation", "", "tablespace, database and file number of the relation, as `SPC/DB/REL`")
	f.StringVar(&lsn, "lsn", "", "as of this `LSN`; without it, of the last that the sink has")
	f.StringVar(&o.To, "to", "", "`DIR` for the files")
	f.DurationVar(&o.At.Wait, "wait", pageclient.DefaultWait, "how long to wait for the LSN")
	f.BoolVar(&o.Checksums, "checksums", false, "the cluster has data checksums: set each page's")
	f.BoolVar(&quiet, "quiet", false, "show no progress on standard error")
	_ = cmd.MarkFlagRequired("relation")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}
