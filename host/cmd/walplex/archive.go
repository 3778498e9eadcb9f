package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/archiveget"
	"github.com/walplex/walplex/sdk/wal"
)

// exitStopRecovery is the status with which `archive get` stops a recovery that
// would else end early. PostgreSQL takes 1 to 125 for "the WAL ends here", the
// shell 126 and 127 for itself, and up to 128+64 means a signal.
const exitStopRecovery = 200

func archiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Back up, restore from, check and prune a directory of WAL segments",
		Long: `archive works on directories of WAL segments: of the segment_file sink, of
pg_receivewal (compressed or not), of an archive_command, or a copy of pg_wal.`,
	}
	cmd.AddCommand(archiveGetCommand(), archiveVerifyCommand(), archiveBaseBackupCommand(), archivePruneCommand())
	return cmd
}

func archiveGetCommand() *cobra.Command {
	var o archiveget.Options
	var timeline uint32
	cmd := &cobra.Command{
		Use:   "get --from DIR FILE DEST",
		Short: "Give a server that recovers a file of an archive: a restore_command",
		Long: `get copies the WAL segment, timeline history file or backup history file FILE from
the archive to DEST, decompressed. In postgresql.conf:

  restore_command = 'walplex archive get --from /var/lib/walplex/archive %f %p'

DEST appears whole or not at all. Several --from are tried in their order; a damaged
file in one is made up for by a whole one in another.

At the end of the archive the newest segment is there only as .partial: its valid
records are given, in a file of full size. Where a promotion ended its timeline, they
are given up to the switch point. To recover to the end of such a timeline itself,
give the same number to --timeline and to recovery_target_timeline.

Exit status, as PostgreSQL understands it:
  0    the file is at DEST
  1    the archive does not have it: PostgreSQL ends the recovery here
  2    the command line is wrong
  200  it cannot be told or given (a directory is missing or closed, a file is
       damaged, the disk is full): PostgreSQL stops, and nothing is lost`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.File, o.Dest, o.Timeline = args[0], args[1], wal.TimelineID(timeline)
			return archiveGet(cmd, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.Directories, "from", nil, "`DIR` of the archive; may be given several times")
	f.Uint32Var(&timeline, "timeline", 0, "the recovery ends on this timeline `N`: its history alone says where older ones were left")
	_ = cmd.MarkFlagRequired("from")
	return cmd
}

// archiveGet gives the file, and maps what happened to a status that PostgreSQL
// understands. Killed by a signal, it removes what it had begun and dies of that
// signal, by which PostgreSQL tells a shutdown from a fault.
func archiveGet(cmd *cobra.Command, o archiveget.Options) (err error) {
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			killed := killedError{s.(syscall.Signal)}
			cancel(killed)
			<-time.After(dieTimeout) // a read of a file system that hangs does not end
			killed.die()
		case <-ctx.Done():
		}
	}()
	defer func() {
		// A panic would exit with 2, which ends the recovery.
		if p := recover(); p != nil {
			err = statusError{exitStopRecovery, fmt.Errorf("archive get %s: a fault of walplex: %v", o.File, p)}
		}
	}()
	served, err := archiveget.Get(ctx, o)
	var killed killedError
	if errors.As(context.Cause(ctx), &killed) && err != nil {
		killed.die()
	}
	for _, w := range served.Warnings {
		if err == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "walplex: archive get %s: %s\n", o.File, w)
		}
	}
	var notThere *archiveget.NotThereError
	var usage *archiveget.UsageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notThere):
		return statusError{exitFailed, fmt.Errorf("archive get: %w", err)}
	case errors.As(err, &usage):
		return statusError{exitUsage, fmt.Errorf("archive get: %w", err)}
	}
	return statusError{exitStopRecovery, fmt.Errorf("archive get %s: %w", o.File, err)}
}

// killedError is the signal that ends us.
type killedError struct{ signal syscall.Signal }

func (e killedError) Error() string { return "killed by " + e.signal.String() }

// die dies of the signal.
func (e killedError) die() {
	signal.Reset(e.signal)
	_ = syscall.Kill(syscall.Getpid(), e.signal)
	<-time.After(dieTimeout)
	os.Exit(128 + int(e.signal)) // as a shell says it
}

// dieTimeout is how long may be tidied up after a signal, and how long a signal to
// ourselves may take.
const dieTimeout = 2 * time.Second
