package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// example is a copy of one of the examples, as a stranger would have it.
type example struct {
	t   *testing.T
	dir string
	dsn string // what WALPLEX_DSN is in its commands
}

// copyExample copies what git knows of examples/name to a directory of the test's.
func copyExample(t *testing.T, name, dsn string) example {
	t.Helper()
	from, err := filepath.Abs(filepath.Join("../../../examples", name))
	if err != nil {
		t.Fatal(err)
	}
	e := example{t: t, dir: filepath.Join(t.TempDir(), name), dsn: dsn}
	if err := os.CopyFS(e.dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, built := range []string{"dist", "node_modules"} {
		if err := os.RemoveAll(e.path(built)); err != nil {
			t.Fatal(err)
		}
	}
	if mod, err := os.ReadFile(e.path("go.mod")); err == nil {
		mod = []byte(strings.Replace(string(mod), "=> ../..", "=> "+filepath.Dir(filepath.Dir(from)), 1))
		if err := os.WriteFile(e.path("go.mod"), mod, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (e example) path(name string) string { return filepath.Join(e.dir, name) }

func (e example) read(name string) string {
	e.t.Helper()
	b, err := os.ReadFile(e.path(name))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// run runs a shell command in the copy, with walplex in the PATH.
func (e example) run(command string) string {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), "sh", "-euc", command)
	cmd.Dir = e.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "WALPLEX_DSN="+e.dsn)
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// change replaces a text in files of the copy.
func (e example) change(from, to string, names ...string) {
	e.t.Helper()
	for _, name := range names {
		text := e.read(name)
		if !strings.Contains(text, from) {
			e.t.Fatalf("%s does not say %q", name, from)
		}
		if err := os.WriteFile(e.path(name), []byte(strings.ReplaceAll(text, from, to)), 0o644); err != nil {
			e.t.Fatal(err)
		}
	}
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// blocks are the commands of the README: what stands between ```sh and ```.
func (e example) blocks() (blocks []string) {
	e.t.Helper()
	for _, m := range shellBlock.FindAllStringSubmatch(e.read("README.md"), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		e.t.Fatal("the README has no commands")
	}
	return blocks
}

// readme runs the commands of the README, block by block, and answers what each
// block has printed.
func (e example) readme() (printed []string) {
	e.t.Helper()
	for _, block := range e.blocks() {
		printed = append(printed, e.run(block))
	}
	return printed
}

// reserve makes the slot before the host does, and answers where it begins: what a
// new sink gets from there on can be asked of pg_waldump.
func reserve(t *testing.T, c *postgres.Cluster, slot string) wal.LSN {
	t.Helper()
	lsn, err := wal.ParseLSN(query(t, c, "SELECT lsn FROM pg_create_physical_replication_slot('"+slot+"', true)"))
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// dumped is a line of pg_waldump's.
type dumped struct {
	rmgr, tx string
	lsn      wal.LSN
	desc     string
}

var dumpedLine = regexp.MustCompile(`^rmgr: (\S+) +len \(rec/tot\): +\d+/ *\d+, tx: +(\d+), lsn: ([0-9A-F/]+), prev \S+, desc: (.*)`)

// dump is what pg_waldump says of the server's WAL.
func dump(t *testing.T, c *postgres.Cluster, from, to wal.LSN) (lines []dumped) {
	t.Helper()
	cmd := c.Tool(t.Context(), "pg_waldump", "-p", c.WALDir(), "-s", from.String(), "-e", to.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	for line := range strings.Lines(string(out)) {
		m := dumpedLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("pg_waldump says %.200q", line)
		}
		lsn, err := wal.ParseLSN(m[3])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, dumped{rmgr: m[1], tx: m[2], lsn: lsn, desc: m[4]})
	}
	if len(lines) == 0 {
		t.Fatalf("pg_waldump finds nothing from %s to %s", from, to)
	}
	return lines
}

// work is a load of every kind of end that a transaction can have.
func work(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	pgtest.Exec(t, c, "CREATE TABLE IF NOT EXISTS kinds (a int PRIMARY KEY, b text)",
		"BEGIN; INSERT INTO kinds SELECT coalesce(max(a), 0) + 1, 'one' FROM kinds; SAVEPOINT s; INSERT INTO kinds SELECT max(a) + 1, 'two' FROM kinds; RELEASE s; COMMIT",
		"BEGIN; UPDATE kinds SET b = 'three'; SAVEPOINT s; DELETE FROM kinds; ROLLBACK TO s; ROLLBACK",
		"BEGIN; CREATE TABLE gone (a int); INSERT INTO gone VALUES (1); DROP TABLE gone; PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'",
		"BEGIN; INSERT INTO kinds SELECT max(a) + 1 FROM kinds; PREPARE TRANSACTION 'q'", "ROLLBACK PREPARED 'q'",
		"SELECT pg_logical_emit_message(true, 'large', repeat('x', 3 << 20))", "CHECKPOINT")
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
