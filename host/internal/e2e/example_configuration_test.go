package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// TestFullExample runs the configuration that shows everything, on a port of its
// own, and asks each sink for what it keeps.
func TestFullExample(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "CREATE TABLE before AS SELECT g FROM generate_series(1, 1000) g")
	d := newDirs(t)
	t.Setenv("WALPLEX_DSN", c.DSN())
	start(t, "validate", "../../../examples/full.hcl").wants(0, "streams 1, sinks 3")
	text, err := os.ReadFile("../../../examples/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	const address = `"127.0.0.1:9187"`
	if !strings.Contains(string(text), address) {
		t.Fatalf("the example has another address than %s", address)
	}
	conf := d.path("full.hcl")
	if err := os.WriteFile(conf, []byte(strings.Replace(string(text), address, `"127.0.0.1:0"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "run", "--until", "caught-up", "--var", "data="+d.root, conf).wants(0, "base backup: the sink holds it")
	start(t, "archive", "verify", d.path("archive")).wants(0)
	start(t, "audit", "verify", d.path("audit")).wants(0)
}

// TestMinimalExample runs the smallest configuration; its archive lies beside it.
func TestMinimalExample(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	t.Setenv("WALPLEX_DSN", c.DSN())
	text, err := os.ReadFile("../../../examples/minimal.hcl")
	if err != nil {
		t.Fatal(err)
	}
	conf := d.path("minimal.hcl")
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		t.Fatal(err)
	}
	end := flushLSN(t, c)
	start(t, "run", "--until", "caught-up", conf).wants(0)
	compareArchive(t, c, d.path("archive"), end)
}
