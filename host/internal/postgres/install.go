package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Install is an installation of PostgreSQL.
type Install struct {
	BinDir  string // holds at least initdb and postgres
	Version int    // as server_version_num: 150018 is 15.18; 0 in the last digits of a development version
}

// Major is the major version, such as 15.
func (i Install) Major() int { return i.Version / 10000 }

// serverPrograms are those without which there is no server.
var serverPrograms = []string{"initdb", "postgres"}

// debianBinDirs is where Debian and Ubuntu keep the programs of each major.
const debianBinDirs = "/usr/lib/postgresql/*/bin"

// Find looks for PostgreSQL's server programs in the given directories, or where
// none is given: in $PATH, then in /usr/lib/postgresql/*/bin, the highest major
// first. The error says where it looked, why each place did not do, and how to
// install PostgreSQL.
func Find(ctx context.Context, binDirs ...string) (Install, error) {
	u, err := findServerUser()
	if err != nil {
		return Install{}, err
	}
	candidates := binDirs
	if len(candidates) == 0 {
		candidates = append(filepath.SplitList(os.Getenv("PATH")), debianDirs()...)
	}
	var tried []string
	for _, dir := range candidates {
		if dir == "" {
			continue
		}
		in, err := probe(ctx, u, dir)
		if err == nil {
			return in, nil
		}
		tried = append(tried, fmt.Sprintf("%s (%v)", dir, err))
	}
	if len(binDirs) == 0 && len(debianDirs()) == 0 {
		tried = append(tried, debianBinDirs+" (no such directory)")
	}
	return Install{}, fmt.Errorf("no PostgreSQL server programs (%s) found; looked in: %s; install them with 'apt-get install postgresql' on Debian or Ubuntu, or put their directory into PATH",
		strings.Join(serverPrograms, ", "), strings.Join(tried, "; "))
}

// debianDirs lists Debian's program directories, the highest major first.
func debianDirs() []string {
	dirs, _ := filepath.Glob(debianBinDirs)
	major := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		return n
	}
	sort.Slice(dirs, func(i, j int) bool { return major(dirs[i]) > major(dirs[j]) })
	return dirs
}

// probe checks that the directory's programs run as the server's user.
func probe(ctx context.Context, u serverUser, dir string) (Install, error) {
	for _, name := range serverPrograms {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Install{}, fmt.Errorf("no %s", name)
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Install{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(abs, "postgres"), "--version")
	cmd.SysProcAttr = attrFor(u)
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Install{}, fmt.Errorf("'postgres --version' as %s: %v", u.name, errors.Join(err, outputError(out)))
	}
	version, err := parseVersion(string(out))
	if err != nil {
		return Install{}, err
	}
	return Install{BinDir: abs, Version: version}, nil
}

// outputError makes an error of what a program printed, nil for nothing.
func outputError(out []byte) error {
	if s := strings.TrimSpace(string(out)); s != "" {
		return errors.New(lastLines(s, 20))
	}
	return nil
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// parseVersion reads "postgres (PostgreSQL) 15.18 (Debian …)" or "… 19devel".
func parseVersion(s string) (int, error) {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a version of PostgreSQL", strings.TrimSpace(s))
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return 0, err
	}
	minor := 0
	if m[2] != "" {
		if minor, err = strconv.Atoi(m[2]); err != nil {
			return 0, err
		}
	}
	return major*10000 + minor, nil
}

// lookTool finds a program: in the installation, in $PATH, or in any of Debian's
// directories, where the client programs of another major may be.
func (i Install) lookTool(name string) (string, error) {
	candidates := append([]string{i.BinDir}, filepath.SplitList(os.Getenv("PATH"))...)
	candidates = append(candidates, debianDirs()...)
	for _, dir := range candidates {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL's %s is neither in %s, nor in PATH, nor in %s: install it with 'apt-get install postgresql-contrib' or the like", name, i.BinDir, debianBinDirs)
}
