package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// TestReloadStartsFailedStream: a stream that has failed is started again by a
// reload, when a person has mended what it needs; the other goes on meanwhile.
func TestReloadStartsFailedStream(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	second := strings.NewReplacer(`"main"`, `"second"`, `"walplex"`, `"missing"`, "    create_slot     = true\n", "", "ROOT/archive", "ROOT/second").Replace(archiveOnly)
	conf := d.write(archiveOnly+second, c.DSN())
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, "run", conf)
	h.says("caught up", 1)
	h.says("the stream has stopped", 1)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('missing', true)")
	h.reloads(conf, string(text), "caught up", 2)
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	slotReaches(t, c, "missing", end)
	if n := strings.Count(h.log(), "the stream has stopped"); n != 1 {
		t.Errorf("streams have stopped %d times", n)
	}
	h.stop()
	compareArchive(t, c, d.path("second"), end)
}
