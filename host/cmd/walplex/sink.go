package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/plugins/audit"
	"github.com/walplex/walplex/plugins/pagecache"
	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
)

// builtins are the sinks that this program has itself. They are processes of
// their own like all others: the program starts itself again for each.
func builtins() []*sdk.Definition {
	return []*sdk.Definition{
		segmentfile.Definition(),
		pagecache.Definition(),
		audit.Definition(durable.OS{}),
	}
}

func builtinNames() []string {
	var names []string
	for _, d := range builtins() {
		names = append(names, d.Type())
	}
	return names
}

// builtinSpec says how a built-in sink is started.
func builtinSpec(typeName string) (supervisor.Spec, bool) {
	for _, name := range builtinNames() {
		if name == typeName {
			self, err := os.Executable()
			if err != nil {
				return supervisor.Spec{}, false
			}
			return supervisor.Spec{Path: self, Args: []string{"sink", typeName}}, true
		}
	}
	return supervisor.Spec{}, false
}

// sinkCommand is how the host starts a built-in sink; nobody else does.
func sinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "sink TYPE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, d := range builtins() {
				if d.Type() == args[0] {
					sdk.Serve(d)
				}
			}
			return statusError{exitUsage, fmt.Errorf("there is no built-in sink %q", args[0])}
		},
	}
}
