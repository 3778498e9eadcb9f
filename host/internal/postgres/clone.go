package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BaseBackup makes a plain base backup in dir, which must not exist and which
// the server's user must be able to make (a path under Dir does). Further
// arguments go to pg_basebackup, which must not be older than the server; WAL is
// included unless they say otherwise.
func (c *Cluster) BaseBackup(ctx context.Context, dir string, args ...string) error {
	all := append([]string{"--pgdata", dir, "--checkpoint", "fast", "--no-sync"}, args...)
	if _, err := c.run(ctx, "pg_basebackup", all...); err != nil {
		return c.withLog(err)
	}
	return nil
}

// Standby makes a streaming hot standby of c, which must run. The standby is not
// started yet. Without a change, the options are c's.
func (c *Cluster) Standby(ctx context.Context, change ...func(*Options)) (*Cluster, error) {
	return c.clone(ctx, "standby.signal", map[string]string{
		"primary_conninfo": c.DSN("application_name=standby"),
	}, change, true)
}

// Recovery makes a cluster that is to recover from a backup of c, which must run,
// and from an archive: Options.Conf must set restore_command, and
// recovery_target… as wished. The backup has no WAL of its own. It is not started
// yet.
func (c *Cluster) Recovery(ctx context.Context, change ...func(*Options)) (*Cluster, error) {
	return c.clone(ctx, "recovery.signal", nil, change, false)
}

func (c *Cluster) clone(ctx context.Context, signal string, conf map[string]string, change []func(*Options), withWAL bool) (*Cluster, error) {
	opt := c.opt
	opt.Conf = map[string]string{}
	maps.Copy(opt.Conf, c.opt.Conf)
	delete(opt.Conf, "synchronous_standby_names") // else its writes wait for standbys that it does not have
	maps.Copy(opt.Conf, conf)
	for _, f := range change {
		f(&opt)
	}
	return newCluster(ctx, opt, func(ctx context.Context, n *Cluster) error {
		if err := c.copyTo(ctx, n.DataDir(), withWAL); err != nil {
			return c.withLog(fmt.Errorf("back up %s to %s: %w", c.DataDir(), n.DataDir(), err))
		}
		return n.user.writeFile(filepath.Join(n.DataDir(), signal), nil)
	})
}

// copyTo makes a base backup by PostgreSQL's low-level API, so that it needs no
// program of the server's own major: start, copy the files as they are, stop,
// write what stop answers into backup_label. Tablespaces are not followed.
func (c *Cluster) copyTo(ctx context.Context, dir string, withWAL bool) (err error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	start, stop := "SELECT pg_backup_start('clone', true)", "SELECT labelfile FROM pg_backup_stop(false)"
	if c.opt.Install.Major() < 15 { // the functions were renamed in PG15
		start, stop = "SELECT pg_start_backup('clone', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)"
	}
	if _, err := conn.PgConn().Exec(ctx, start).ReadAll(); err != nil {
		return err
	}
	if err := c.copyTree(dir, "."); err != nil {
		return err
	}
	// pg_control comes last, as in PostgreSQL's own backups: its checkpoint must
	// not be older than any other file.
	if err := c.copyFile(dir, "global/pg_control"); err != nil {
		return err
	}
	results, err := conn.PgConn().Exec(ctx, stop).ReadAll()
	if err != nil {
		return err
	}
	label := results[len(results)-1].Rows[0][0]
	if err := c.user.writeFile(filepath.Join(dir, "backup_label"), label); err != nil {
		return err
	}
	if withWAL {
		return c.copyTree(dir, "pg_wal")
	}
	return nil
}

// Files that are not part of a backup (the manual's "Making a Base Backup Using
// the Low Level API"), and directories of which only the directory is.
var (
	notCopied      = []string{"postmaster.pid", "postmaster.opts", "backup_label", "global/pg_control"}
	contentOmitted = []string{"pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}
)

// copyTree copies what lies below root of the data directory. Files may vanish
// and change meanwhile: replaying the WAL mends that.
func (c *Cluster) copyTree(dir, root string) error {
	base := c.DataDir()
	return filepath.WalkDir(filepath.Join(base, root), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(base, path)
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(rel, "pg_replslot/") {
			return fs.SkipDir // a slot's directory without its state stops the server
		}
		if d.IsDir() {
			return c.copyDir(dir, rel)
		}
		parent, _, _ := strings.Cut(rel, "/")
		if slices.Contains(notCopied, rel) || !d.Type().IsRegular() || root == "." && slices.Contains(contentOmitted, parent) {
			return nil
		}
		return c.copyFile(dir, rel)
	})
}

func (c *Cluster) copyDir(dir, rel string) error {
	to := filepath.Join(dir, rel)
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return c.user.own(to)
}

func (c *Cluster) copyFile(dir, rel string) error {
	from, err := os.Open(filepath.Join(c.DataDir(), rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	name := filepath.Join(dir, rel)
	to, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close(), c.user.own(name))
}
