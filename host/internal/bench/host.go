package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sinkText is a sink of a configuration, in HCL.
type sinkText struct {
	kind, name string
	lines      []string // beside the config block
	config     []string // in the config block
}

// fileSink is a sink that keeps a directory of its own in dir.
func fileSink(kind, name, dir string) sinkText {
	return sinkText{kind: kind, name: name, config: []string{fmt.Sprintf("directory = %q", filepath.Join(dir, name))}}
}

// nullSinks are that many sinks that keep nothing.
func nullSinks(n int, dir string) (list []sinkText) {
	for i := range n {
		name := fmt.Sprintf("null%d", i)
		list = append(list, sinkText{kind: "null", name: name, config: []string{fmt.Sprintf("result = %q", filepath.Join(dir, name))}})
	}
	return list
}

// configuration is one of a stream.
type configuration struct {
	dsn, slot string
	null      string // program of the null sinks
	sinks     []sinkText
}

// controlSocket is where the host in dir can be asked for its status.
func controlSocket(dir string) string { return filepath.Join(dir, "control.sock") }

// write writes the configuration into dir and answers its path.
func (c *configuration) write(dir string) (string, error) {
	var t strings.Builder
	fmt.Fprintf(&t, "host {\n  control = %q\n}\n", controlSocket(dir))
	if c.null != "" {
		fmt.Fprintf(&t, "plugin \"null\" {\n  path = %q\n}\n", c.null)
	}
	fmt.Fprintf(&t, "stream \"main\" {\n  postgres {\n    dsn  = %q\n    slot = %q\n  }\n", c.dsn, c.slot)
	for _, s := range c.sinks {
		fmt.Fprintf(&t, "  sink %q %q {\n    %s\n    config {\n      %s\n    }\n  }\n", s.kind, s.name,
			strings.Join(s.lines, "\n    "), strings.Join(s.config, "\n      "))
	}
	t.WriteString("}\n")
	path := filepath.Join(dir, "walplex.hcl")
	return path, os.WriteFile(path, []byte(t.String()), 0o600)
}

// nullProgram builds the null sink's program.
func (b *bench) nullProgram(ctx context.Context) (string, error) {
	path := filepath.Join(b.dir, "nullsink")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/walplex/walplex/host/internal/bench/nullsink").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the null sink: %w\n%s", err, out)
	}
	return path, nil
}

// nullResult is what the null sinks in dir have seen: records of one of them, and
// the CPU time of all. It is an error where they have not seen the same.
func nullResult(dir string, n int) (records uint64, cpu time.Duration, err error) {
	for i := range n {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("null%d", i)))
		if err != nil {
			return 0, 0, err
		}
		var r struct {
			Records uint64        `json:"records"`
			CPU     time.Duration `json:"cpu_ns"`
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return 0, 0, err
		}
		if i > 0 && r.Records != records {
			return 0, 0, fmt.Errorf("a null sink has seen %d records, another %d", records, r.Records)
		}
		records, cpu = r.Records, cpu+r.CPU
	}
	return records, cpu, nil
}

// fresh makes a directory for one run, and has the disk at rest.
func (b *bench) fresh() (string, error) {
	dir, err := os.MkdirTemp(b.dir, "run")
	syscall.Sync() // what an earlier run wrote is not this one's to wait for
	return dir, err
}

// background is a process that a run needs while it measures another.
type background struct {
	cmd    *exec.Cmd
	stderr *os.File
	done   chan error
}

// startBackground starts a process; what it says on standard error is kept in a
// file in dir.
func startBackground(cmd *exec.Cmd, dir string) (*background, error) {
	f, err := os.CreateTemp(dir, "stderr")
	if err != nil {
		return nil, err
	}
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	p := &background{cmd: cmd, stderr: f, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// Bounds of a background process.
const (
	endWait   = 60 * time.Second // for its end
	lastWords = 2000             // bytes of what it said
)

// end asks it to end and waits.
func (p *background) end(sig os.Signal) error {
	defer p.stderr.Close()
	_ = p.cmd.Process.Signal(sig) // it may have ended already, which Wait tells
	select {
	case err := <-p.done:
		return p.explain(err)
	case <-time.After(endWait):
		_ = p.cmd.Process.Kill()
		<-p.done
		return p.explain(errors.New("it had to be killed"))
	}
}

// explain adds its last words.
func (p *background) explain(err error) error {
	if err == nil {
		return nil
	}
	text, _ := os.ReadFile(p.stderr.Name())
	return fmt.Errorf("%s: %w: %s", p.cmd, err, text[max(0, len(text)-lastWords):])
}

// remove removes a run's directory, whatever became of the run.
func remove(dir string, err *error) { *err = cmp.Or(*err, os.RemoveAll(dir)) }
