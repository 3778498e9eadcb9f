package golden

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/golden/workload"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// Record records a sample into dir, which it empties: the workload on a server of
// in, described by the pg_waldump of tools, an installation of the same major.
func Record(ctx context.Context, in, tools postgres.Install, dir string) (err error) {
	if in.Major() != tools.Major() {
		return fmt.Errorf("a server of PostgreSQL %d and a pg_waldump of %d do not go together", in.Major(), tools.Major())
	}
	c, err := postgres.New(ctx, workload.Options(in))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Destroy(context.WithoutCancel(ctx))) }()
	if err := c.Start(ctx); err != nil {
		return err
	}
	s := &Sample{dir: dir}
	if s.Server, err = c.QueryString(ctx, "SELECT version()"); err != nil {
		return err
	}
	if s.Parts, err = workload.Run(ctx, c, tools); err != nil {
		return fmt.Errorf("%w\n%s", err, c.Log())
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, part := range s.Parts {
		for _, name := range part.Names() {
			b, err := os.ReadFile(filepath.Join(c.WALDir(), name))
			if err != nil {
				return err
			}
			if err := s.write(walDir, name, b); err != nil {
				return err
			}
		}
	}
	if err := s.dump(ctx, filepath.Join(tools.BinDir, "pg_waldump"), wal.Version(tools.Major())); err != nil {
		return err
	}
	return s.save()
}

// dump runs pg_waldump on the segments, as they were written.
func (s *Sample) dump(ctx context.Context, pgWaldump string, major wal.Version) (err error) {
	dir, err := os.MkdirTemp("", "walplex-golden-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := s.Extract(dir); err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, pgWaldump, "--version").Output()
	if err != nil {
		return err
	}
	s.WALDump = strings.TrimSpace(string(version))
	s.Runs = runs(s.Parts, major)
	for i := range s.Runs {
		run := &s.Runs[i]
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, pgWaldump, run.Args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			return err
		}
		run.Status = cmd.ProcessState.ExitCode()
		// getopt and the wrapped program's own name may come with a path.
		run.Stderr = strings.ReplaceAll(stderr.String(), pgWaldump, "pg_waldump")
		if err := s.write(outDir, run.Name, stdout.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// runs are the runs of pg_waldump that are recorded.
func runs(parts []workload.Part, major wal.Version) []Run {
	first, second := parts[0], parts[1]
	names := first.Names()
	span := func(name string, args ...string) Run {
		return Run{Name: name, Args: append(args, names[0], names[len(names)-1])}
	}
	segmentSize := wal.SegmentSize(workload.SegmentSizeMB << 20)
	all := []Run{
		span("text"),
		span("blocks", "--bkp-details"),
		span("stats", "--stats"),
		span("stats-record", "--stats=record"),
		span("stats-gin", "--stats=record", "--rmgr=Gin"),
		span("heap2", "--rmgr=Heap2", "--bkp-details", "--limit=40"),
		// Beyond the last segment there is an error.
		{Name: "open", Args: []string{"--path=.", "--start=" + segmentSize.LSN(first.Last).String()}},
		{Name: "quiet", Args: []string{"--quiet", "--path=.", "--start=" + segmentSize.LSN(first.First).String()}},
		{Name: "second", Args: []string{"--bkp-details", "--path=.", "--timeline=2", "--start=" + segmentSize.LSN(second.First).String()}},
		// Into the middle of the first segment.
		{Name: "middle", Args: []string{"--path=.", "--limit=20", "--start=" + (segmentSize.LSN(first.First) + 5*wal.PageSize + 8).String()}},
	}
	if major >= wal.PG15 {
		all = append(all,
			span("fullpage", "--fullpage", "--limit=60"),
			span("vm", "--fork=vm", "--limit=20"))
	}
	return all
}
