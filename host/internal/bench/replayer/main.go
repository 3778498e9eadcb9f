// Command replayer replays the WAL of a data directory, as a process whose cost
// can be measured:
//
//	replayer [--cpuprofile FILE] DATADIR MEMORY
//
// It prints what package replay did as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"syscall"

	"github.com/walplex/walplex/host/internal/replay"
)

func main() {
	profile := flag.String("cpuprofile", "", "`FILE` to write a CPU profile to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *profile, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "replayer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, profile string, args []string) (err error) {
	if len(args) != 2 {
		return errors.New("want a data directory and an amount of memory in bytes")
	}
	memory, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r, err := replay.Run(ctx, replay.Options{DataDir: args[0], Memory: memory})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
