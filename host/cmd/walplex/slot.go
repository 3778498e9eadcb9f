package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/status"
)

func slotCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "slot", Short: "Work with the replication slots of servers"}
	var flags configFlags
	var name string
	var force bool
	drop := &cobra.Command{
		Use:   "drop PATH…",
		Short: "Drop the slot that a stream's configuration names, and let its server remove the WAL",
		Long: `drop connects with the stream's connection string, to a database and not for
replication, shows what the slot holds back, and drops it. A slot in use is refused.
With --force the server's process that uses it is ended first; a host that runs
with create_slot makes the slot anew at once, from the server's position of then.

What the server then removes and a sink has not flushed can only come from an
archive (an archive block in the configuration) or from a new base backup.

Exit status 0: dropped. 1: not dropped. 2: usage or configuration.`,
		Args: cobra.MinimumNArgs(1),
	}
	flags.addVars(drop)
	drop.Flags().StringVar(&name, "stream", "", "`NAME` of the stream, where the configuration has several with a slot")
	drop.Flags().BoolVar(&force, "force", false, "end the process that uses the slot")
	drop.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, diags, err := flags.read(args)
		if err != nil {
			return err
		}
		if cfg == nil || diags.HasErrors() {
			_ = diags.WriteText(cmd.ErrOrStderr())
			return statusError{status: exitUsage}
		}
		s, err := streamWithSlot(cfg.Streams, name)
		if err != nil {
			return statusError{exitUsage, err}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return failed(dropSlot(ctx, cmd.OutOrStdout(), s, force))
	}
	cmd.AddCommand(drop)
	return cmd
}

// streamWithSlot is the stream of this name, or the only one that has a slot.
func streamWithSlot(streams []*config.Stream, name string) (*config.Stream, error) {
	var found []*config.Stream
	var names []string
	for _, s := range streams {
		if s.Archive != nil || s.Postgres.Slot == "" {
			if s.Name == name {
				return nil, fmt.Errorf("the stream %q has no slot", name)
			}
			continue
		}
		names = append(names, s.Name)
		if name == "" || s.Name == name {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case name != "":
		return nil, fmt.Errorf("there is no stream %q; those with a slot are: %s", name, strings.Join(names, ", "))
	case len(names) == 0:
		return nil, errors.New("no stream of the configuration has a slot")
	}
	return nil, fmt.Errorf("several streams have a slot: give --stream, one of %s", strings.Join(names, ", "))
}

func dropSlot(ctx context.Context, w io.Writer, s *config.Stream, force bool) error {
	slot := s.Postgres.Slot
	conn, err := replication.ConnectOrdinary(ctx, replication.Config{DSN: s.Postgres.DSN.Reveal()})
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	sample, err := primary.Read(ctx, conn, slot, 0)
	switch {
	case err != nil:
		return err
	case !sample.Exists:
		return fmt.Errorf("the server %s has no slot %q: nothing to drop", conn.Server(), slot)
	case !sample.Physical:
		return fmt.Errorf("the slot %q is a logical one, which no stream of walplex uses: drop it with SELECT pg_drop_replication_slot('%s') if you mean it", slot, slot)
	}
	user, err := primary.UserOf(ctx, conn, &sample)
	if err != nil {
		return err
	}
	if err := printSlot(w, s, conn.Server(), &sample, user); err != nil {
		return err
	}
	if user != nil && !force {
		return fmt.Errorf("not dropped: %w. Stop it first (a walplex host: SIGTERM), or give --force to end that process", user)
	}
	if err := primary.Drop(ctx, conn, slot, force); err != nil {
		return fmt.Errorf("not dropped: %w", err)
	}
	_, err = fmt.Fprintf(w, "The slot is dropped. The server removes WAL from %s on as it needs the space: sinks that have\n"+
		"not flushed it need another source for it (an archive block), or a new base backup.\n", sample.Restart)
	return err
}

// printSlot says what a slot holds and who uses it.
func printSlot(w io.Writer, s *config.Stream, server string, sample *primary.Sample, user *primary.ActiveError) error {
	var j primary.Judge
	v := j.Add(*sample)
	used := "nobody"
	if user != nil {
		used = user.User()
	}
	held := "no WAL yet"
	if sample.Restart != 0 {
		held = fmt.Sprintf("%s of WAL, from %s to %s", status.Bytes(v.Held), sample.Restart, sample.Current)
	}
	walStatus := sample.WALStatus
	if sample.Invalidation != "" {
		walStatus += " (" + sample.Invalidation + ")"
	}
	_, err := fmt.Fprintf(w, "slot        %s of stream %s, on %s\nholds       %s\nwal_status  %s\nin use by   %s\n", s.Postgres.Slot, s.Name, server, held, walStatus, used)
	return err
}
