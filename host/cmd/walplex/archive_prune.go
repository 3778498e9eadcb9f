package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/archiveprune"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// pruneFlags are the command line as it was typed.
type pruneFlags struct {
	age, size, backup string
	dryRun, yes       bool
}

func archivePruneCommand() *cobra.Command {
	f := &pruneFlags{}
	cmd := &cobra.Command{
		Use:   "prune --dry-run|--yes [--keep-age AGE] [--keep-size SIZE] [--keep-backup BACKUP] DIR",
		Short: "Remove the oldest WAL of an archive that no sink has open",
		Long: `prune removes segments from DIR, the oldest first, that every rule given allows to
go, and writes the names of the files to standard output. At least one rule is
needed. The newest finished segment and what follows it always stay, and so do the
history files of timelines and backups.

It does once what the retention block of a segment_file sink does all the time. That
one knows what other sinks and the slot still need; prune does not: do not use it
where one of them is behind the archive, nor while pg_receivewal or an
archive_command writes to DIR.

--keep-backup newest:2 keeps what the two newest base backups need, by their backup
history files in DIR; else BACKUP is a backup's label, or its backup history file.

Exit status: 0 done, 1 it cannot be done (a sink has DIR open, no such backup, an
error of the disk), 2 the command line is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.age, "keep-age", "", "keep what was received within this `AGE`, such as 7d or 36h")
	fl.StringVar(&f.size, "keep-size", "", "keep this `SIZE`, such as 100GiB")
	fl.StringVar(&f.backup, "keep-backup", "", "keep what this `BACKUP` needs")
	fl.BoolVar(&f.dryRun, "dry-run", false, "remove nothing, and write what would be; a sink may have DIR open")
	fl.BoolVar(&f.yes, "yes", false, "remove it")
	return cmd
}

func (f *pruneFlags) run(cmd *cobra.Command, dir string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := f.options()
	if err != nil {
		return statusError{exitUsage, fmt.Errorf("archive prune: %w", err)}
	}
	o.Directory, o.Now = dir, time.Now()
	o.Removed = func(path string) { fmt.Fprintln(cmd.OutOrStdout(), path) }
	r, err := archiveprune.Prune(ctx, o)
	if err != nil {
		if r.Segments > 0 {
			err = fmt.Errorf("%w (%d segments were removed before)", err, r.Segments)
		}
		return failed(fmt.Errorf("archive prune: %w", err))
	}
	fmt.Fprintln(cmd.ErrOrStderr(), r.Summary(o.DryRun))
	return nil
}

// options makes options of what was typed.
func (f *pruneFlags) options() (o archiveprune.Options, err error) {
	if f.dryRun == f.yes {
		return o, errors.New("give either --dry-run or --yes")
	}
	if f.age == "" && f.size == "" && f.backup == "" {
		return o, errors.New("which WAL is to be kept? Give --keep-age, --keep-size or --keep-backup")
	}
	o.DryRun, o.Backup = f.dryRun, f.backup
	if strings.ContainsRune(o.Backup, filepath.Separator) && strings.HasSuffix(o.Backup, ".backup") {
		o.Backup = filepath.Base(o.Backup)
	}
	if err := retention.CheckBackup(o.Backup); err != nil {
		return o, fmt.Errorf("--keep-backup: %w", err)
	}
	if f.age != "" {
		if o.Age, err = retention.ParseAge(f.age); err != nil {
			return o, fmt.Errorf("--keep-age: %w", err)
		}
	}
	if f.size != "" {
		o.Size, err = sdk.ParseBytes(f.size)
		if err == nil && o.Size == 0 {
			err = errors.New("0 is no size to keep")
		}
		if err != nil {
			return o, fmt.Errorf("--keep-size: %w", err)
		}
	}
	return o, nil
}
