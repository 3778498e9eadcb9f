package main

import (
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/waldump"
)

func waldumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "waldump [OPTION]... [STARTSEG [ENDSEG]]",
		Short: "Print the records of WAL segments, as pg_waldump does",
		// The options are read as pg_waldump reads them.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
			defer stop()
			program := waldump.Program{
				Name:    "walplex waldump",
				Version: "walplex " + version(),
				PGData:  os.Getenv("PGDATA"),
				Stdout:  cmd.OutOrStdout(),
				Stderr:  cmd.ErrOrStderr(),
			}
			if status := program.Run(ctx, args); status != exitDone {
				return statusError{status: status}
			}
			return nil
		},
	}
}
