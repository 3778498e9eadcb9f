package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Cluster is a throwaway PostgreSQL cluster. Its methods may be called from
// several goroutines, except those that start and stop the server and Destroy.
type Cluster struct {
	opt  Options
	user serverUser
	dir  string
	port int

	confBase []byte // postgresql.conf as it was before ours was put after it

	watch *watchdog

	mu     sync.Mutex
	server *server // nil while none is running
}

// New makes a cluster with initdb. The server is not started yet. Destroy must
// be called in the end.
func New(ctx context.Context, opt Options) (*Cluster, error) {
	return newCluster(ctx, opt, func(ctx context.Context, c *Cluster) error {
		args := []string{"--pgdata", c.DataDir(), "--username", "postgres", "--no-sync", "--auth", "trust", "--no-locale", "--encoding", "UTF8"}
		if opt.SegmentSizeMB != 0 {
			args = append(args, "--wal-segsize", strconv.Itoa(opt.SegmentSizeMB))
		}
		switch {
		case opt.Checksums:
			args = append(args, "--data-checksums")
		case c.opt.Install.Major() >= 18: // on by default since PG18
			args = append(args, "--no-data-checksums")
		}
		_, err := c.run(ctx, "initdb", args...)
		return err
	})
}

// newCluster makes the directory, has fill make the data directory, and configures it.
func newCluster(ctx context.Context, opt Options, fill func(context.Context, *Cluster) error) (_ *Cluster, err error) {
	if opt.TLS != nil && !opt.TCP {
		return nil, errors.New("PostgreSQL offers TLS only over TCP: set Options.TCP too")
	}
	if opt.Install.BinDir == "" {
		if opt.Install, err = Find(ctx); err != nil {
			return nil, err
		}
	}
	c := &Cluster{opt: opt, port: socketPort}
	if c.user, err = findServerUser(); err != nil {
		return nil, err
	}
	parent := opt.Dir
	if parent == "" {
		parent = "/tmp" // not os.TempDir: $TMPDIR may be long, or closed to the server's user
	}
	if c.dir, err = os.MkdirTemp(parent, "walplex-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.watch.close()
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
	}()
	if socket := c.socketPath(); len(socket) > maxSocketPath {
		return nil, fmt.Errorf("the socket's path %s has %d bytes, and at most %d are possible: give a shorter Options.Dir", socket, len(socket), maxSocketPath)
	}
	if err := c.user.own(c.dir); err != nil {
		return nil, err
	}
	if c.watch, err = startWatchdog(c.user, c.dir); err != nil {
		return nil, err
	}
	if err := fill(ctx, c); err != nil {
		return nil, err
	}
	return c, c.configure()
}

// configure writes the configuration files into a fresh data directory.
func (c *Cluster) configure() error {
	base, err := os.ReadFile(c.confPath())
	if err != nil {
		return err
	}
	c.confBase = base
	if err := c.writeConf(); err != nil {
		return err
	}
	if len(c.opt.HBA) > 0 {
		hba := strings.Join(c.opt.HBA, "\n") + "\n"
		if err := c.user.writeFile(filepath.Join(c.DataDir(), "pg_hba.conf"), []byte(hba)); err != nil {
			return err
		}
	}
	return c.writeTLS()
}

// writeConf writes postgresql.conf: what was there, then our parameters, since
// the last mention of a parameter wins.
func (c *Cluster) writeConf() error {
	return c.user.writeFile(c.confPath(), append(bytes.Clone(c.confBase), c.conf()...))
}

// SetConf changes parameters of postgresql.conf. A running server sees them
// after Reload or Restart.
func (c *Cluster) SetConf(conf map[string]string) error {
	merged := make(map[string]string, len(c.opt.Conf)+len(conf))
	for _, m := range []map[string]string{c.opt.Conf, conf} {
		for k, v := range m {
			merged[k] = v
		}
	}
	c.opt.Conf = merged
	return c.writeConf()
}

// Install is the installation that the cluster runs on.
func (c *Cluster) Install() Install { return c.opt.Install }

// Dir is the cluster's directory: the socket's too.
func (c *Cluster) Dir() string { return c.dir }

// DataDir is PGDATA.
func (c *Cluster) DataDir() string { return filepath.Join(c.dir, "data") }

// WALDir is the directory of the WAL's segments.
func (c *Cluster) WALDir() string { return filepath.Join(c.DataDir(), "pg_wal") }

// Port is the port of the socket and of TCP. With TCP it is known after the
// first Start.
func (c *Cluster) Port() int { return c.port }

func (c *Cluster) confPath() string   { return filepath.Join(c.DataDir(), "postgresql.conf") }
func (c *Cluster) logPath() string    { return filepath.Join(c.dir, "server.log") }
func (c *Cluster) socketPath() string { return filepath.Join(c.dir, ".s.PGSQL."+strconv.Itoa(c.port)) }

// Destroy ends the server at once and removes the cluster's directory.
func (c *Cluster) Destroy(ctx context.Context) error {
	err := c.Stop(ctx, Immediate)
	if err != nil {
		err = errors.Join(err, c.Kill9(ctx))
	}
	c.watch.close()
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Tool is a command of one of PostgreSQL's programs (pgbench, pg_waldump,
// pg_receivewal, …), to run as the server's user in the cluster's directory,
// with an environment that leads to this cluster. Where the program is not
// installed, running the command says so.
func (c *Cluster) Tool(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, err := c.opt.Install.lookTool(name)
	cmd := exec.CommandContext(ctx, path, args...)
	if err != nil {
		cmd.Err = err
	}
	cmd.SysProcAttr = attrFor(c.user)
	cmd.Dir = c.dir
	cmd.Env = c.env()
	return cmd
}

// env is a whole environment: nothing of ours that begins with PG gets in.
func (c *Cluster) env() []string {
	return []string{
		"PATH=" + c.opt.Install.BinDir + ":" + os.Getenv("PATH"),
		"HOME=" + c.dir,
		"LC_ALL=C",
		"TZ=UTC",
		"PGHOST=" + c.dir,
		"PGPORT=" + strconv.Itoa(c.port),
		"PGUSER=postgres",
		"PGDATABASE=postgres",
	}
}

// run runs a program to its end; the error has what it printed.
func (c *Cluster) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := c.Tool(ctx, name, args...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%s as %s: %w", name, c.user.name, errors.Join(err, outputError(out)))
	}
	return out, nil
}

// Pgbench runs pgbench on the database postgres and answers what it printed.
func (c *Cluster) Pgbench(ctx context.Context, args ...string) (string, error) {
	out, err := c.run(ctx, "pgbench", args...)
	return string(out), err
}

// logTail is how much of the server's log an error carries, in bytes and lines.
const (
	logTailBytes = 16 << 10
	logTailLines = 15
)

// Log is the end of what the server wrote to its log.
func (c *Cluster) Log() string {
	f, err := os.Open(c.logPath())
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > logTailBytes {
		if _, err := f.Seek(-logTailBytes, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, logTailBytes))
	if err != nil {
		return ""
	}
	return string(b)
}

// withLog adds the last lines of the server's log to an error.
func (c *Cluster) withLog(err error) error {
	if err == nil {
		return nil
	}
	log := lastLines(strings.TrimSpace(c.Log()), logTailLines)
	if log == "" {
		return err
	}
	return fmt.Errorf("%w; the server's log ends with:\n%s", err, log)
}

// lastLines is the end of s, at most n lines.
func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
