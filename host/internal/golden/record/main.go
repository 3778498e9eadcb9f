// Command record records the samples of package golden again: see there.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/host/internal/golden"
	"github.com/walplex/walplex/host/internal/golden/servers"
)

// source is where a sample's server comes from.
type source struct {
	major int
	npm   bool // else the distribution, which has pg_waldump in any case
}

var sources = []source{{14, false}, {15, false}, {16, false}, {17, true}, {17, false}, {18, true}, {18, false}}

func main() {
	var r recorder
	cmd := &cobra.Command{
		Use:           "record [VERSION …]",
		Short:         "Record the golden samples, all or those of the named versions",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, versions []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return r.record(ctx, versions)
		},
	}
	cmd.Flags().StringVar(&r.cache, "cache", "", "directory that keeps the servers (default $"+servers.CacheVariable+", else the user's cache)")
	cmd.Flags().StringVar(&r.out, "out", "host/internal/golden/testdata", "directory of the samples")
	cmd.Flags().StringVar(&r.example, "example", "examples/wal", "directory of the segments of 15 that the example has")
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

// exampleMajor is the major of the segments that the example replays, the first
// exampleSegments of the sample.
const (
	exampleMajor    = 15
	exampleSegments = 3
)

type recorder struct{ cache, out, example string }

func (r recorder) record(ctx context.Context, versions []string) (err error) {
	if r.cache == "" {
		if r.cache, err = servers.DefaultCache(); err != nil {
			return err
		}
	}
	for _, s := range sources {
		tools, err := servers.Apt(ctx, r.cache, s.major)
		if err != nil {
			return err
		}
		server := tools
		if s.npm {
			if server, err = servers.NPM(ctx, r.cache, s.major); err != nil {
				return err
			}
		}
		version := fmt.Sprintf("%d.%d", server.Major(), server.Version%10000)
		if len(versions) > 0 && !slices.Contains(versions, version) {
			continue
		}
		dir := filepath.Join(r.out, version)
		if err := golden.Record(ctx, server, tools, dir); err != nil {
			return fmt.Errorf("PostgreSQL %s: %w", version, err)
		}
		if s.major == exampleMajor {
			if err := golden.CopyFirst(dir, r.example, exampleSegments); err != nil {
				return err
			}
		}
		fmt.Println(version)
	}
	return nil
}
