package e2e

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

const sqlite = `
plugin "sqlite" {
  path = "PROGRAM"
}
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    status_interval = "1s"
  }
  sink "sqlite" "database" {
    config { file = "ROOT/wal.db" }
  }
}`

// TestExampleSQLite: killed under load the database has each record once, as
// pg_waldump --stats counts and measures them; the README's queries run.
func TestExampleSQLite(t *testing.T) {
	c := server(t, func(o *postgres.Options) { o.Conf["max_prepared_transactions"] = "4" })
	e := copyExample(t, "sqlite", c.DSN())
	reserve(t, c, "sqlite")
	work(t, c)
	printed := e.readme()
	if answers := printed[len(printed)-1]; strings.Count(answers, "\n") < 12 || !strings.Contains(answers, "Heap") {
		t.Errorf("the README's queries answer\n%s", answers)
	}

	initPgbench(t, c)
	from := reserve(t, c, "walplex")
	d := newDirs(t)
	h := start(t, "run", d.write(strings.Replace(sqlite, "PROGRAM", e.path("walplex-sink-sqlite"), 1), c.DSN()))
	wait := load(t, c, 3)
	ask := func(sql string) string {
		return e.run("./walplex-sink-sqlite query '" + d.path("wal.db") + "' \"" + sql + "\"")
	}
	h.says("sink attached", 1)
	eventually(t, "the database is there", func() bool { return exists(d.path("wal.db")) })
	for range 2 {
		before := ask("SELECT lsn FROM position")
		eventually(t, "the sink gets on", func() bool { return ask("SELECT lsn FROM position") != before })
		h.killSink("database")
		work(t, c)
	}
	wait()
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.stop()

	_, position, _ := strings.Cut(strings.TrimSpace(ask("SELECT format('%X/%X', lsn >> 32, lsn & 4294967295) FROM position")), "\n")
	to, err := wal.ParseLSN(position)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(ask("SELECT rmgr, count(*), sum(length - images), sum(images) FROM record GROUP BY rmgr")) {
		name, numbers, _ := strings.Cut(strings.TrimSpace(line), "\t")
		got[name] = strings.ReplaceAll(numbers, "\t", " ")
	}
	delete(got, "rmgr")
	if want := stats(t, c, from, to); !maps.Equal(got, want) {
		t.Errorf("records, bytes, bytes of images by resource manager are\n%v\nby pg_waldump --stats\n%v", got, want)
	}
}

var statsLine = regexp.MustCompile(`(?m)^(\w+) +(\d+) \( *[\d.]+\) +(\d+) \( *[\d.]+\) +(\d+) \(`)

// stats is what pg_waldump --stats says of each resource manager that has records:
// their number, bytes, and bytes of images.
func stats(t *testing.T, c *postgres.Cluster, from, to wal.LSN) map[string]string {
	t.Helper()
	cmd := c.Tool(t.Context(), "pg_waldump", "--stats", "-p", c.WALDir(), "-s", from.String(), "-e", to.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	all := map[string]string{}
	for _, m := range statsLine.FindAllStringSubmatch(string(out), -1) {
		if m[2] != "0" {
			all[m[1]] = m[2] + " " + m[3] + " " + m[4]
		}
	}
	if len(all) < 4 {
		t.Fatalf("pg_waldump says\n%s", out)
	}
	return all
}
