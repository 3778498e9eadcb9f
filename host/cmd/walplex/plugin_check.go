package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wire"
)

// pluginTest is one run of plugin test.
type pluginTest struct {
	config   string
	only     []string
	noMTLS   bool
	seed     uint64
	patience time.Duration

	spec   supervisor.Spec
	schema *wire.Schema
}

func pluginTestCommand() *cobra.Command {
	t := pluginTest{seed: 1}
	cmd := &cobra.Command{
		Use:   "test [--config FILE] BINARY",
		Short: "Hold any sink's program to the delivery contract, in whatever language it is written",
		Long: `test starts BINARY as the host does, again and again, sends it WAL that it has made
itself, kills it, lets its disk run full, and compares what it answers with what the
contract allows. It prints one line for each check, with the rule that was broken.

FILE holds what the config block of the sink would. In it var.directory is a
directory that each check has for itself. A setting of format path that is required
or has a default, and is not in FILE, is a path in that directory.

Exit status: 0 every check passes, 1 one fails, 2 the sink cannot be started or FILE
is wrong.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&t.config, "config", "", "`FILE` with the sink's settings")
	cmd.Flags().StringSliceVar(&t.only, "check", nil, "run only the checks of these `NAMES`")
	cmd.Flags().BoolVar(&t.noMTLS, "no-auto-mtls", false, "connect without TLS, as auto_mtls = false of a plugin block")
	cmd.Flags().Uint64Var(&t.seed, "seed", 1, "another `NUMBER` makes other WAL, and kills at other points")
	cmd.Flags().DurationVar(&t.patience, "patience", conform.DefaultPatience, "how long the sink may take to answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := exists(args[0]); err != nil {
			return err
		}
		path, err := filepath.Abs(args[0])
		if err != nil {
			return failed(err)
		}
		dir, remove, err := makeSocketDir()
		if err != nil {
			return failed(err)
		}
		defer remove()
		t.spec = supervisor.Spec{Path: path, AutoMTLS: !t.noMTLS, SocketDir: dir}
		if err := t.checkNames(); err != nil {
			return err
		}
		if err := t.learn(cmd.Context(), cmd.ErrOrStderr()); err != nil {
			return err
		}
		return t.run(cmd.Context(), cmd.OutOrStdout())
	}
	return cmd
}

func (t *pluginTest) checkNames() error {
	var known []string
	for _, c := range conform.Checks() {
		known = append(known, c.Name)
	}
	for _, name := range t.only {
		if !slices.Contains(known, name) {
			return statusError{exitUsage, fmt.Errorf("plugin test: --check %q is none of %s", name, strings.Join(known, ", "))}
		}
	}
	return nil
}

// learn starts the sink once, and tries its settings.
func (t *pluginTest) learn(ctx context.Context, stderr io.Writer) error {
	p, err := supervisor.Start(ctx, t.spec, slog.New(slog.DiscardHandler))
	if err != nil {
		return statusError{exitUsage, err}
	}
	defer p.Kill()
	t.spec.Type, t.schema = p.Describe().Type, p.Describe().Schema
	_, diags := t.settings(filepath.Join(t.spec.SocketDir, "x"))
	if diags.HasErrors() {
		return errors.Join(diags.WriteText(stderr), statusError{status: exitUsage})
	}
	return nil
}

// settings reads FILE for a check's directory.
func (t *pluginTest) settings(dir string) ([]byte, config.Diagnostics) {
	// Paths that FILE leaves out are filled in afterwards.
	schema := proto.CloneOf(t.schema)
	for _, a := range schema.GetAttributes() {
		if a.Format == "path" {
			a.Required, a.DefaultJson = false, nil
		}
	}
	read, diags := config.Settings(t.config, map[string]string{"directory": dir}, t.spec.Type, schema)
	if diags.HasErrors() {
		return nil, diags
	}
	given := map[string]json.RawMessage{}
	if err := json.Unmarshal(read, &given); err != nil {
		return nil, config.Diagnostics{{Severity: config.Error, Summary: err.Error()}}
	}
	out, err := conform.Settings(t.schema, given)(dir)
	if err != nil {
		return nil, config.Diagnostics{{Severity: config.Error, Summary: err.Error()}}
	}
	return out, nil
}

// limitScript bounds the size of files, in units of 512 bytes, for the program
// that it becomes. That a limit is reached is an error of write, not a death.
const limitScript = `trap '' XFSZ; ulimit -f "$1"; shift; exec "$@"`

func (t *pluginTest) start(ctx context.Context, o conform.StartOptions) (*conform.Life, error) {
	spec := t.spec
	if o.FileLimit > 0 {
		spec.Path, spec.Args = "/bin/sh", []string{"-c", limitScript, "sh", strconv.Itoa(o.FileLimit / 512), t.spec.Path}
	}
	p, err := supervisor.Start(ctx, spec, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &conform.Life{Client: p.Client(), Kill: p.Kill}, nil
}

func (t *pluginTest) run(ctx context.Context, out io.Writer) error {
	target := conform.Target{Start: t.start, Process: true, Seed: t.seed, Patience: t.patience, Config: func(dir string) ([]byte, error) {
		settings, diags := t.settings(dir)
		if diags.HasErrors() {
			return nil, errors.New(diags[0].Summary)
		}
		return settings, nil
	}}
	passed, failures, others := 0, 0, 0
	for _, c := range conform.Checks() {
		if len(t.only) > 0 && !slices.Contains(t.only, c.Name) {
			continue
		}
		err := t.check(ctx, c, target)
		var none *conform.NotApplicable
		line := ""
		switch {
		case ctx.Err() != nil:
			return failed(ctx.Err())
		case err == nil:
			passed++
			line = "ok    " + c.Name + ": " + c.What
		case errors.As(err, &none):
			others++
			line = "-     " + c.Name + ": " + none.Error()
		default:
			failures++
			line = "FAIL  " + c.Name + ": " + err.Error()
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return failed(err)
		}
	}
	_, err := fmt.Fprintf(out, "%s: %d passed, %d failed, %d not applicable.\n", t.spec.Type, passed, failures, others)
	if err == nil && failures > 0 {
		return statusError{status: exitFailed}
	}
	return failed(err)
}

func (t *pluginTest) check(ctx context.Context, c conform.Check, target conform.Target) error {
	dir, err := os.MkdirTemp("", "sink") // short, since Unix sockets may lie in it
	if err != nil {
		return err
	}
	return errors.Join(c.Run(ctx, target, dir), os.RemoveAll(dir))
}
