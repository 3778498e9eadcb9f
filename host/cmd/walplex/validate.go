package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
)

func validateCommand() *cobra.Command {
	var flags configFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate PATH…",
		Short: "Check a configuration: every problem with its place, exit status 2 if there is one",
		Long: `validate reads .hcl files and directories of them as one configuration and prints
every problem as FILE:LINE,COLUMN with a hint. It starts the configured sinks to
ask them for their settings, but connects to no server and writes nothing.`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := flags.log.logger(cmd.ErrOrStderr()); err != nil {
			return err
		}
		dir, remove, err := makeSocketDir()
		if err != nil {
			return failed(err)
		}
		defer remove()
		streams, diags, err := flags.load(cmd.Context(), args, dir, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		write := diags.WriteText
		if asJSON {
			write = diags.WriteJSON
		}
		if err := write(cmd.OutOrStdout()); err != nil {
			return failed(err)
		}
		if diags.HasErrors() {
			return statusError{status: exitUsage}
		}
		if !asJSON {
			sinks := 0
			for _, s := range streams {
				sinks += len(s.Sinks)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The configuration is valid: streams %d, sinks %d.\n", len(streams), sinks)
		}
		return failed(err)
	}
	return cmd
}
