package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// TestSegmentFileAdopts: a directory that pg_receivewal has filled, compressed or
// not, is continued where it ends, and pg_receivewal goes on from there in turn.
func TestSegmentFileAdopts(t *testing.T) {
	for _, compress := range []string{"none", "gzip", "lz4"} {
		t.Run(compress, func(t *testing.T) {
			c := server(t)
			createSlot(t, c)
			insert(t, c, "before", 1000)
			archive := archiveDir(t, c, "archive")
			r := recovery(t, c, map[string]string{"restore_command": restoreCommand(t, "--from", archive)})
			insert(t, c, "early", 20_000)
			receive(t, c, archive, "receiver", "--compress", compress)
			insert(t, c, "late", 20_000)
			d := newDirs(t)
			conf := d.write(archiveAs(archive, readable+fmt.Sprintf("compression = %q", compress)), c.DSN())
			h := start(t, "run", "--until", "caught-up", conf)
			h.wants(0, "new=false")
			end := flushLSN(t, c)
			if compress == "none" {
				compareArchive(t, c, archive, end)
			}
			start(t, "archive", "verify", archive).wants(0, "the archive is whole")
			recovered(t, r)
			if got, want := content(t, r), content(t, c); got != want {
				t.Errorf("the table holds %s, want %s", got, want)
			}
			if compress != "none" {
				return
			}
			// And back.
			pgtest.Exec(t, c, "SELECT pg_switch_wal()")
			start(t, "run", "--until", "caught-up", conf).wants(0)
			for _, name := range []string{".walplex.lock", ".walplex-segment_file"} {
				if names, err := filepath.Glob(filepath.Join(archive, name)); err != nil || len(names) != 1 {
					t.Errorf("%s: %v", name, err)
				}
			}
			insert(t, c, "back", 10_000)
			end = receive(t, c, archive, "receiver", "--compress", compress)
			compareArchive(t, c, archive, end)
		})
	}
}
