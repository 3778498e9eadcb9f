package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/control"
)

func reloadCommand() *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:   "reload [PATH…]",
		Short: "Have a running host read its configuration again, and say what changed",
		Long: `reload does what SIGHUP does, and waits for the result. What did not change goes on
as it is. A configuration that is wrong changes nothing: its problems are printed
as validate prints them.

Exit status 0: it was read and is in effect. 1: it failed, or no host answers.
2: the new configuration is wrong, or the command line.`,
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := flags.client(args)
		if err != nil {
			return err
		}
		changes, err := client.Reload(cmd.Context())
		var answer *control.AnswerError
		switch {
		case errors.As(err, &answer) && answer.Invalid():
			fmt.Fprintln(cmd.ErrOrStderr(), strings.TrimRight(answer.Text, "\n"))
			return statusError{exitUsage, errors.New("nothing has changed: the new configuration is wrong")}
		case err != nil:
			return failed(err)
		case len(changes) == 0:
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The configuration says what it said before: nothing has changed.")
			return failed(err)
		}
		for _, c := range changes {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), c); err != nil {
				return failed(err)
			}
		}
		return nil
	}
	return cmd
}
