package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/plan"
	"github.com/walplex/walplex/host/internal/plugins"
	"github.com/walplex/walplex/host/internal/stream"
)

// configFlags are the flags of every command that reads a configuration.
type configFlags struct {
	vars []string
	log  logFlags
	host config.Host // of the configuration that load has read last
}

func (f *configFlags) add(cmd *cobra.Command) {
	f.addVars(cmd)
	f.log.add(cmd)
}

// addVars is for commands that read a configuration and write no log.
func (f *configFlags) addVars(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "set a variable of the configuration, as `NAME=VALUE`; may be repeated")
}

// logFlags choose what the log looks like.
type logFlags struct {
	level  string
	format string
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "info", "write log lines of this `LEVEL` and above: debug, info, warn, error")
	cmd.Flags().StringVar(&f.format, "log-format", "text", "`FORMAT` of log lines: text or json")
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, statusError{exitUsage, fmt.Errorf("--log-level %q: write debug, info, warn or error", f.level)}
	}
	o := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, statusError{exitUsage, fmt.Errorf("--log-format %q: write text or json", f.format)}
}

// load reads and checks the configuration, sinks included. Its diagnostics may
// hold warnings where it is good.
func (f *configFlags) load(ctx context.Context, paths []string, socketDir string, log *slog.Logger) ([]stream.Config, config.Diagnostics, error) {
	cfg, diags, err := f.read(paths)
	if cfg == nil {
		return nil, diags, err
	}
	lock, err := plugins.ReadLock(plugins.LockPath(paths[0]))
	if err != nil {
		return nil, diags, statusError{exitUsage, err}
	}
	streams, more := plan.Make(ctx, cfg, plan.Options{Builtin: builtinSpec, Builtins: builtinNames(), SocketDir: socketDir, Log: log, Lock: lock})
	diags = append(append(diags, more...), checkOutside(cfg)...)
	diags.Sort()
	f.host = cfg.Host
	return streams, diags, ctx.Err()
}

// read reads the configuration alone, without asking its sinks. It is nil where
// there is nothing that can be used.
func (f *configFlags) read(paths []string) (*config.Config, config.Diagnostics, error) {
	vars := map[string]string{}
	for _, v := range f.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			// The value may be a secret: it is not repeated.
			return nil, nil, statusError{exitUsage, errors.New("--var wants NAME=VALUE")}
		}
		vars[name] = value
	}
	cfg, diags := config.Load(paths, config.Options{Vars: vars, Builtins: builtinNames()})
	return cfg, diags, nil
}

// socketPrefix begins the name of the directories for sinks' sockets; the
// process number of their host follows.
const socketPrefix = "walplex-"

// makeSocketDir makes a directory that only this user can enter, and removes
// those of hosts that were killed.
func makeSocketDir() (dir string, remove func(), err error) {
	stale, _ := filepath.Glob(filepath.Join(os.TempDir(), socketPrefix+"*-*"))
	for _, d := range stale {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), socketPrefix), "-")
		n, err := strconv.Atoi(pid)
		if err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(d) // fails for another user's, which is not ours to remove
		}
	}
	dir, err = os.MkdirTemp("", socketPrefix+strconv.Itoa(os.Getpid())+"-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}
