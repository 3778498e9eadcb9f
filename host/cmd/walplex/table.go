package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/tablerecover"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

func tableCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "table", Short: "Read tables from a page_cache sink"}
	cmd.AddCommand(tableRecoverCommand())
	return cmd
}

// tableRecover is what a user says of `table recover`.
type tableRecover struct {
	source   pageSource
	database string
	table    string
	before   string
	format   string
	output   string
	columns  []string
	wait     time.Duration
}

func tableRecoverCommand() *cobra.Command {
	var o tableRecover
	cmd := &cobra.Command{
		Use:   "recover --from SOCKET --database NAME --table [SCHEMA.]NAME --before LSN|TIME|xid:N",
		Short: "Write the rows of a table as they were just before a DELETE, TRUNCATE or DROP",
		Long: `recover reads a table's pages, those of the catalogs that describe it and of the
transactions' states from a page_cache sink, all as of one moment in the past, and
writes the rows that were there then. The server is not asked, and may be down.

--before names the moment: an LSN, a time with its zone, or xid:N, the commit of a
transaction. A time is that of the first commit at or after it, as its record has it.
What was not committed by then is not in the rows. To find the moment, look into the
audit trail or use "walplex waldump --rmgr=Transaction". A dropped database loses its
files before its drop commits, and so needs an LSN from before that.

The sink has to have begun with a base backup (base_backup = true).

--format copy writes what COPY ... TO STDOUT does, for
    psql -c "\copy NAME FROM FILE"
and --format sql a script that makes the table, without defaults, constraints and
indexes, and fills it. Generated columns are left out. Text is in the database's
encoding, times with time zone in UTC, money as lc_monetary C has it, and types that
name objects (regclass) as numbers. A type whose text is not known here ends the command
before anything is written; --columns leaves its column out. Rows of partitions come
with their partitioned table.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Interrupted, it leaves no part of a file behind.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return o.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.source.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.database, "database", "", "`NAME` of the database")
	f.StringVar(&o.table, "table", "", "`NAME` of the table, as the catalogs have it, with its schema where several have one")
	f.StringVar(&o.before, "before", "", "the `MOMENT`: an LSN, a time with its zone, or xid:N")
	f.StringVar(&o.format, "format", "copy", "`FORMAT` of the output: copy or sql")
	f.StringVar(&o.output, "output", "", "write to `FILE`, which appears when all is in it; without it, to standard output")
	f.StringSliceVar(&o.columns, "columns", nil, "only these `COLUMNS`, separated by commas, in this order")
	f.DurationVar(&o.wait, "wait", pageclient.DefaultWait, "how long to wait for the LSN")
	for _, name := range []string{"database", "table", "before"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

func (o *tableRecover) run(ctx context.Context, out, errOut io.Writer) error {
	schema, table, err := tablerecover.ParseTable(o.table)
	if err != nil {
		return statusError{exitUsage, err}
	}
	before, err := tablerecover.ParseBefore(o.before)
	if err != nil {
		return statusError{exitUsage, err}
	}
	if o.format != "copy" && o.format != "sql" {
		return statusError{exitUsage, fmt.Errorf("%q is no format: write copy or sql", o.format)}
	}
	client, err := o.source.dial()
	if err != nil {
		return statusError{exitUsage, err}
	}
	defer client.Close() // nothing is in flight any more
	opt := tablerecover.Options{Database: o.database, Schema: schema, Table: table, Columns: o.columns, SQL: o.format == "sql"}
	if o.output == "" {
		return failed(o.recover(ctx, client, before, opt, out, errOut))
	}
	return failed(writeWhole(o.output, func(w io.Writer) error { return o.recover(ctx, client, before, opt, w, errOut) }))
}

func (o *tableRecover) recover(ctx context.Context, client *pageclient.Client, before tablerecover.Before, opt tablerecover.Options, out, errOut io.Writer) error {
	began := time.Now()
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if st.ServerVersion == 0 {
		return errors.New("the sink does not know the version of the server whose pages it has: it learns that from a host that is connected to the server, not from an archive")
	}
	lsn, note, err := before.Resolve(ctx, client)
	if err != nil {
		return err
	}
	if note != "" {
		fmt.Fprintf(errOut, "walplex: %s\n", note)
	}
	if _, err := client.Wait(ctx, lsn, o.wait); err != nil {
		return err
	}
	opt.About = " as of " + lsn.String()
	sum, err := tablerecover.Recover(ctx, tablerecover.NewSink(client, lsn, o.wait), wal.Version(st.ServerVersion), opt, out)
	if err != nil {
		if st.BaseBackupLsn == 0 {
			err = fmt.Errorf("%w\nThis sink began without a base backup, and so does not have every page: set base_backup = true for a new one", err)
		}
		return err
	}
	for _, n := range sum.Notes {
		fmt.Fprintf(errOut, "walplex: %s\n", n)
	}
	tables := ""
	if sum.Tables != 1 {
		tables = fmt.Sprintf(" of %d partitions", sum.Tables)
	}
	fmt.Fprintf(errOut, "walplex: %d rows of %s as of %s, from %d pages%s, in %s\n", sum.Rows, sum.Table, lsn, sum.Pages, tables, time.Since(began).Round(time.Millisecond))
	return nil
}

// writeWhole writes a file that has its name only when all is in it. What is no
// ordinary file, as a pipe, is written as it comes.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".partial-")
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
