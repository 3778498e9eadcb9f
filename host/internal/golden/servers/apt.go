package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/walplex/walplex/host/internal/postgres"
)

// release is a distribution's release.
type release struct {
	name   string
	suites []string
	archive
}

// archive is a distribution's, and where its keys are.
type archive struct {
	uri     string
	keyring string // the package that holds the keys
	keyFile string // the keys' file within it
}

// releases are those used here, by their major of PostgreSQL.
func releases(major int) (release, bool) {
	debian := archive{"http://deb.debian.org/debian", "debian-archive-keyring", "usr/share/keyrings/debian-archive-keyring.gpg"}
	ubuntu := archive{"http://archive.ubuntu.com/ubuntu", "ubuntu-keyring", "usr/share/keyrings/ubuntu-archive-keyring.gpg"}
	rel, ok := map[int]release{
		14: {"jammy", []string{"jammy", "jammy-updates"}, ubuntu},
		15: {"bookworm", []string{"bookworm"}, debian},
		16: {"noble", []string{"noble", "noble-updates"}, ubuntu},
		17: {"trixie", []string{"trixie"}, debian},
		18: {"sid", []string{"sid"}, debian},
	}[major]
	return rel, ok
}

// Apt is all of PostgreSQL of a major, 14 to 18, from a distribution. It needs
// apt-get, dpkg-deb and, the first time, the network.
func Apt(ctx context.Context, cache string, major int) (postgres.Install, error) {
	rel, ok := releases(major)
	if !ok {
		return postgres.Install{}, fmt.Errorf("no distribution's PostgreSQL %d is known here", major)
	}
	dir, err := obtain(cache, "apt-"+rel.name, func(dir string) error { return rel.fill(ctx, dir, major) })
	if err != nil {
		return postgres.Install{}, err
	}
	return find(ctx, filepath.Join(dir, "root", "usr/lib/postgresql", fmt.Sprint(major), "bin"), major)
}

// fill unpacks the release's PostgreSQL and the libraries that it needs.
func (rel release) fill(ctx context.Context, dir string, major int) error {
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial", "etc", "debs", "keys"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	keys, err := rel.keys(ctx, dir)
	if err != nil {
		return err
	}
	if err := rel.update(ctx, dir, keys); err != nil {
		return err
	}
	apt := func(args ...string) (string, error) {
		return run(ctx, filepath.Join(dir, "debs"), "apt-get", append(options(dir), args...)...)
	}
	plan, err := apt("install", "--print-uris", "--yes", "--no-install-recommends", fmt.Sprintf("postgresql-%d", major))
	if err != nil {
		return err
	}
	if _, err := apt(append([]string{"download"}, wanted(plan)...)...); err != nil {
		return err
	}
	if err := unpack(ctx, filepath.Join(dir, "debs"), filepath.Join(dir, "root")); err != nil {
		return err
	}
	for _, sub := range []string{"state", "cache", "debs"} {
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	return wrap(dir, major)
}

// update fetches the release's lists of packages into dir.
func (rel release) update(ctx context.Context, dir, keys string) error {
	var sources strings.Builder
	for _, suite := range rel.suites {
		fmt.Fprintf(&sources, "deb [arch=amd64 signed-by=%s] %s %s main\n", keys, rel.uri, suite)
	}
	for name, content := range map[string]string{"etc/sources.list": sources.String(), "state/status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	_, err := run(ctx, dir, "apt-get", append(options(dir), "update")...)
	return err
}

// options keep apt-get to dir: this machine's packages and sources stay as they are.
func options(dir string) []string {
	return []string{
		"-o", "Dir::State=" + filepath.Join(dir, "state"),
		"-o", "Dir::State::status=" + filepath.Join(dir, "state/status"),
		"-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(dir, "etc/sources.list"),
		"-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64",
		"-o", "APT::Sandbox::User=root",
	}
}

// keys is the path of the archive's keys: this machine's, or from the package
// that a Debian release has of them.
func (rel release) keys(ctx context.Context, dir string) (string, error) {
	if path := "/" + rel.keyFile; exists(path) {
		return path, nil
	}
	from, _ := releases(17)
	if !exists("/" + from.keyFile) {
		return "", fmt.Errorf("neither /%s nor /%s exists: install the package %s or %s", rel.keyFile, from.keyFile, rel.keyring, from.keyring)
	}
	if err := from.update(ctx, dir, "/"+from.keyFile); err != nil {
		return "", err
	}
	keys := filepath.Join(dir, "keys")
	if _, err := run(ctx, keys, "apt-get", append(options(dir), "download", rel.keyring)...); err != nil {
		return "", err
	}
	return filepath.Join(keys, rel.keyFile), unpack(ctx, keys, keys)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// wanted picks from apt-get's plan PostgreSQL and the libraries. Left out is what
// only the just-in-time compiler and the procedural languages need.
func wanted(plan string) []string {
	var names []string
	for line := range strings.Lines(plan) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "'") {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "_")
		lib := strings.HasPrefix(name, "lib") || name == "zlib1g"
		if lib && (strings.HasPrefix(name, "libllvm") || strings.HasPrefix(name, "libperl") || strings.HasSuffix(name, "-perl")) {
			continue
		}
		if lib || strings.HasPrefix(name, "postgresql-") && name != "postgresql-common" && name != "postgresql-client-common" {
			names = append(names, name)
		}
	}
	return names
}

// unpack unpacks the packages in from.
func unpack(ctx context.Context, from, into string) error {
	debs, err := filepath.Glob(filepath.Join(from, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := run(ctx, from, "dpkg-deb", "--extract", deb, into); err != nil {
			return err
		}
	}
	return nil
}

// wrapper starts the program of its own name from bin.real, through the dynamic
// linker and with the libraries of the release. The program takes itself to lie
// where the wrapper lies, and finds its files from there.
const wrapper = `#!/bin/sh
root=${0%/usr/lib/postgresql/*}
for ld in "$root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"; do
	[ -e "$ld" ] && break
done
exec "$ld" --argv0 "$0" --library-path "$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu" "${0%/bin/*}/bin.real/${0##*/}" "$@"
`

// wrap puts a wrapper in the place of every program.
func wrap(dir string, major int) error {
	home := filepath.Join(dir, "root", "usr/lib/postgresql", fmt.Sprint(major))
	bin, realBin := filepath.Join(home, "bin"), filepath.Join(home, "bin.real")
	if err := os.Rename(bin, realBin); err != nil {
		return err
	}
	programs, err := os.ReadDir(realBin)
	if err != nil {
		return err
	}
	if len(programs) == 0 {
		return errors.New("the packages hold no program")
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for _, p := range programs {
		if err := os.WriteFile(filepath.Join(bin, p.Name()), []byte(wrapper), 0o755); err != nil {
			return err
		}
	}
	return nil
}
