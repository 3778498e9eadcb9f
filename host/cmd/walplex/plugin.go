package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/plugins"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wire"
)

func pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Write, test, list and lock sinks that are programs of their own",
	}
	cmd.AddCommand(pluginNewCommand(), pluginTestCommand(), pluginListCommand(), pluginLockCommand())
	return cmd
}

func pluginNewCommand() *cobra.Command {
	var o plugins.NewOptions
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the project of a new sink, in Go, that builds and passes its tests",
		Long: `new writes a Go project for the sink type NAME: its program, its configuration, a
test that holds it to the delivery contract, an example configuration and a README.

It requires the version of walplex that this program was built from, and asks the go
command to find what that needs in turn. With --sdk it uses a checkout of walplex
instead, and nothing is downloaded.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "write it to this `DIR`, which is made; NAME without it")
	cmd.Flags().StringVar(&o.SDK, "sdk", "", "use the checkout of walplex in `DIR` instead of a published version")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Name = args[0]
		if o.Dir == "" {
			o.Dir = o.Name
		}
		if err := plugins.CheckName(o.Name); err != nil {
			return statusError{exitUsage, fmt.Errorf("plugin new: %w", err)}
		}
		if err := chooseSDK(&o); err != nil {
			return statusError{exitUsage, fmt.Errorf("plugin new: %w", err)}
		}
		names, err := plugins.New(o)
		if err != nil {
			return failed(fmt.Errorf("plugin new: %w", err))
		}
		if o.SDK == "" {
			if err := tidy(cmd, o.Dir); err != nil {
				return failed(err)
			}
		}
		slices.Sort(names)
		program := "./" + plugins.ProgramPrefix + o.Name
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Written to %s: %s\nNext:\n  cd %s\n  go test ./...\n  go build -o %s .\n  walplex plugin test %s\n",
			o.Dir, strings.Join(names, " "), o.Dir, program, program)
		return failed(err)
	}
	return cmd
}

// chooseSDK decides what the project requires.
func chooseSDK(o *plugins.NewOptions) (err error) {
	if o.SDK != "" {
		o.Version = "v0.0.0"
		o.SDK, err = filepath.Abs(o.SDK)
		return err
	}
	o.Version, _, _ = strings.Cut(version(), "+")
	if !strings.HasPrefix(o.Version, "v") {
		return fmt.Errorf("this walplex was built without a version (%s), which the project could require; give --sdk DIR, a checkout of walplex", o.Version)
	}
	return nil
}

// tidy completes go.mod and go.sum.
func tidy(cmd *cobra.Command, dir string) error {
	c := exec.CommandContext(cmd.Context(), "go", "mod", "tidy")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("plugin new: the project is in %s, but go mod tidy, which completes its go.mod, has failed: %w\n%s", dir, err, out)
	}
	return nil
}

// listed is one sink type as plugin list shows it.
type listed struct {
	Type         string          `json:"type"`
	From         string          `json:"from"` // built-in, discovered, configured, overridden
	Path         string          `json:"path"`
	Place        string          `json:"place,omitempty"` // of the plugin block
	Version      string          `json:"version,omitempty"`
	SHA256       string          `json:"sha256,omitempty"`
	Capabilities []string        `json:"capabilities,omitempty"`
	Settings     []listedSetting `json:"settings,omitempty"`
	Error        string          `json:"error,omitempty"`

	spec supervisor.Spec
}

type listedSetting struct {
	Name        string          `json:"name"` // of one in a nested block: block.name
	Type        json.RawMessage `json:"type"`
	Format      string          `json:"format,omitempty"`
	Required    bool            `json:"required,omitempty"`
	Sensitive   bool            `json:"sensitive,omitempty"`
	Default     json.RawMessage `json:"default,omitempty"`
	Description string          `json:"description,omitempty"`
}

func pluginListCommand() *cobra.Command {
	var flags configFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [PATH…]",
		Short: "List the sink types: built-in, configured, and found in plugin_dirs",
		Long: `list shows the sink types that a configuration (PATH…) can use, without one the
built-in types: the version, checksum and settings of each, as its program tells them.
A setting with * is required. With --json everything of the settings is shown.

Exit status: 0, 1 if a program cannot be started, 2 if the configuration is wrong.`,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	flags.addVars(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := flags.listPlugins(cmd, args)
		if err != nil {
			return err
		}
		dir, remove, err := makeSocketDir()
		if err != nil {
			return failed(err)
		}
		defer remove()
		broken := false
		for i := range list {
			list[i].ask(cmd.Context(), dir)
			broken = broken || list[i].Error != ""
		}
		if asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			err = e.Encode(map[string]any{"plugins": list})
		} else {
			err = writeList(cmd.OutOrStdout(), list)
		}
		if err == nil && broken {
			return statusError{status: exitFailed}
		}
		return failed(err)
	}
	return cmd
}

// listPlugins finds all types without starting any.
func (f *configFlags) listPlugins(cmd *cobra.Command, paths []string) ([]listed, error) {
	var out []listed
	for _, name := range builtinNames() {
		spec, ok := builtinSpec(name)
		if !ok {
			return nil, failed(errors.New("the path of this program cannot be found out"))
		}
		out = append(out, listed{Type: name, From: "built-in", Path: spec.Path, spec: spec})
	}
	if len(paths) == 0 {
		return out, nil
	}
	cfg, diags, err := f.read(paths)
	if err != nil {
		return nil, err
	}
	if diags.HasErrors() {
		return nil, errors.Join(diags.WriteText(cmd.ErrOrStderr()), statusError{status: exitUsage})
	}
	return append(out, external(cfg)...), nil
}

// external are the types of a configuration that are programs of their own, those
// of plugin blocks first: they come before what is in plugin_dirs.
func external(cfg *config.Config) (out []listed) {
	add := func(l listed) {
		if slices.ContainsFunc(out, func(o listed) bool { return o.Type == l.Type }) {
			return
		}
		if path, ok := cfg.Host.DevOverrides[l.Type]; ok {
			l.Path, l.spec.Path, l.spec.SHA256, l.From = path, path, "", "overridden"
		}
		out = append(out, l)
	}
	for _, p := range cfg.Plugins {
		l := listed{Type: p.Type, From: "configured", Path: p.Path, Place: fmt.Sprintf("%s:%d", p.Range.Filename, p.Range.Start.Line),
			spec: supervisor.Spec{Path: p.Path, Args: p.Args, SHA256: p.SHA256, AutoMTLS: p.AutoMTLS}}
		for name, value := range p.Env {
			l.spec.Env = append(l.spec.Env, name+"="+value.Reveal())
		}
		add(l)
	}
	for _, f := range plugins.Find(cfg.Host.PluginDirs) {
		add(listed{Type: f.Type, From: "discovered", Path: f.Path, spec: supervisor.Spec{Path: f.Path, AutoMTLS: true}})
	}
	for name, path := range cfg.Host.DevOverrides {
		add(listed{Type: name, From: "overridden", Path: path, spec: supervisor.Spec{Path: path, AutoMTLS: true}})
	}
	slices.SortFunc(out, func(a, b listed) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// ask starts the program and has it describe itself.
func (l *listed) ask(ctx context.Context, socketDir string) {
	var err error
	if l.SHA256, err = plugins.Sum(l.Path); err != nil {
		l.Error = err.Error()
		return
	}
	l.spec.Type, l.spec.SocketDir = l.Type, socketDir
	p, err := supervisor.Start(ctx, l.spec, slog.New(slog.DiscardHandler))
	if err != nil {
		l.Error = err.Error()
		return
	}
	defer p.Kill()
	d := p.Describe()
	l.Version, l.Capabilities = d.Version, d.Capabilities
	l.Settings = settingsOf(d.Schema, "")
}

func settingsOf(s *wire.Schema, prefix string) (out []listedSetting) {
	for _, a := range s.GetAttributes() {
		out = append(out, listedSetting{Name: prefix + a.Name, Type: a.TypeJson, Format: a.Format, Required: a.Required,
			Sensitive: a.Sensitive, Default: a.DefaultJson, Description: a.Description})
	}
	for _, b := range s.GetBlocks() {
		out = append(out, settingsOf(b.Schema, prefix+b.Name+".")...)
	}
	return out
}

// shownSum is how much of a checksum a table shows.
const shownSum = 12

func writeList(w io.Writer, list []listed) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TYPE\tFROM\tVERSION\tSHA256\tSETTINGS")
	for _, l := range list {
		var names []string
		for _, s := range l.Settings {
			if s.Required {
				s.Name += "*"
			}
			names = append(names, s.Name)
		}
		said := strings.Join(names, " ")
		if l.Error != "" {
			said, _, _ = strings.Cut(l.Error, "\n")
		}
		from := l.From
		if l.From != "built-in" {
			from += " " + l.Path
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.*s\t%s\n", l.Type, from, l.Version, shownSum, l.SHA256, said)
	}
	return t.Flush()
}

func pluginLockCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "lock PATH…",
		Short: "Record the checksums of a configuration's sinks; run refuses programs that were changed",
		Long: `lock writes the checksum of every sink program that the configuration names, or
finds in plugin_dirs, to ` + plugins.LockName + ` in the directory of the first PATH, for this
operating system and processor; what was recorded for others stays. Where that file
is, run and validate refuse a program that is not in it or was changed. Programs of
dev_overrides are left out.

Exit status: 0, 1 if a program cannot be read, 2 if the configuration is wrong.`,
		Args: cobra.MinimumNArgs(1),
	}
	flags.addVars(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, diags, err := flags.read(args)
		if err != nil {
			return err
		}
		if diags.HasErrors() {
			return errors.Join(diags.WriteText(cmd.ErrOrStderr()), statusError{status: exitUsage})
		}
		return failed(lockAll(cmd.OutOrStdout(), plugins.LockPath(args[0]), external(cfg)))
	}
	return cmd
}

func lockAll(w io.Writer, path string, list []listed) error {
	lock, err := plugins.ReadLock(path)
	if err != nil {
		return err
	}
	if lock == nil {
		lock = plugins.NewLock(path)
	}
	types := map[string]bool{}
	for _, l := range list {
		types[l.Type] = true
		if l.From == "overridden" {
			continue
		}
		sum, err := plugins.Sum(l.Path)
		if err != nil {
			return fmt.Errorf("plugin lock: sink type %q: %w", l.Type, err)
		}
		what := "unchanged"
		if lock.Set(l.Type, sum) {
			what = "recorded"
		}
		if _, err := fmt.Fprintf(w, "%s  %s  %s  sha256:%s\n", what, l.Type, plugins.Platform(), sum); err != nil {
			return err
		}
	}
	lock.Keep(types)
	if err := lock.Write(); err != nil {
		return fmt.Errorf("plugin lock: %w", err)
	}
	_, err = fmt.Fprintf(w, "Written to %s.\n", path)
	return err
}

// exists tells a usage error from a failure.
func exists(path string) error {
	if _, err := os.Stat(path); err != nil {
		return statusError{exitUsage, err}
	}
	return nil
}
