// Command walplex streams a PostgreSQL server's WAL to any number of sinks.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Exit statuses, which scripts rely on.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:]))
}

// run runs a command line and answers the exit status.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var status statusError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		if status.err != nil {
			fmt.Fprintf(os.Stderr, "walplex: %v\n", status.err)
		}
		return status.status
	default:
		// What cobra finds wrong with the command line.
		fmt.Fprintf(os.Stderr, "walplex: %v\nSee walplex --help.\n", err)
		return exitUsage
	}
}

// statusError ends a command with a status; without err everything was said.
type statusError struct {
	status int
	err    error
}

func (e statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

// failed ends a command with the status of a failure.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return statusError{exitFailed, err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "walplex",
		Short: "Stream PostgreSQL's WAL to any number of sinks",
		Long: `walplex streams the write-ahead log of PostgreSQL servers, decodes it, and hands
it to sinks, each a process of its own: an archive of segments, a cache of pages,
an audit trail, or programs of yours.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(), validateCommand(), pageCommand(), auditCommand(), waldumpCommand(), archiveCommand(), demoCommand(), versionCommand(), sinkCommand())
	root.AddCommand(statusCommand(), reloadCommand(), slotCommand())
	root.AddCommand(pluginCommand())
	root.AddCommand(tableCommand())
	return root
}
