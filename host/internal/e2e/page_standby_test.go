package e2e

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

// pagesFromBackup is one page cache that begins with a base backup.
const pagesFromBackup = `
stream "main" {
  postgres {
    dsn             = DSN
    slot            = "walplex"
    create_slot     = true
    status_interval = "1s"
  }
  sink "page_cache" "pages" {
    config {
      directory   = "ROOT/pages"
      base_backup = true
    }
  }
}`

// everyIndex makes tables with an index of each kind, and a sequence.
var everyIndex = []string{
	"CREATE EXTENSION pageinspect",
	"CREATE TABLE things (id serial PRIMARY KEY, n int, words text[], at point, name text, long text) WITH (fillfactor = 80)",
	"ALTER TABLE things ALTER long SET STORAGE EXTERNAL",
	"CREATE INDEX ON things USING hash (n)", "CREATE INDEX ON things USING gin (words)", "CREATE INDEX ON things USING gist (at)",
	"CREATE INDEX ON things USING spgist (name)", "CREATE INDEX ON things USING brin (n) WITH (pages_per_range = 2)",
}

// moveThings changes them, n rows at a time.
func moveThings(n int) []string {
	return []string{
		fmt.Sprintf("INSERT INTO things (n, words, at, name, long) SELECT g, ARRAY['w' || g %% 17, 'v' || g], point(g %% 91, g), 'name ' || g, CASE WHEN g %% 50 = 0 THEN repeat(md5(g::text), 200) END FROM generate_series(1, %d) g", n),
		"UPDATE things SET n = n + 1, words = words || 'more'::text WHERE id % 3 = 0",
		"BEGIN; UPDATE things SET at = point(id, 0) WHERE id % 5 = 1; ROLLBACK",
		"DELETE FROM things WHERE id % 7 = 2", "VACUUM things",
	}
}

// TestPagesOfPausedStandbys holds pages as of LSNs in the middle of a load
// against standbys whose recovery is paused there: all pages of all relations of
// a database, the catalogs among them.
func TestPagesOfPausedStandbys(t *testing.T) { pagesOfPausedStandbys(t, server(t)) }

func pagesOfPausedStandbys(t *testing.T, c *postgres.Cluster) {
	t.Helper()
	initPgbench(t, c)
	pgtest.Exec(t, c, everyIndex...)
	d := newDirs(t)
	h := start(t, "run", d.write(pagesFromBackup, c.DSN()))
	h.says("caught up", 1)

	rnd := rand.New(rand.NewPCG(6, 'c'))
	base := flushLSN(t, c)
	var standbys []*postgres.Cluster
	last := base
	for range 3 {
		target := base + wal.LSN(1<<20+rnd.IntN(12<<20))
		last = max(last, target)
		s, err := c.Standby(t.Context(), func(o *postgres.Options) {
			o.Conf["recovery_target_lsn"] = target.String()
			o.Conf["recovery_target_action"] = "pause"
			o.Conf["hot_standby"] = "on"
		})
		if err != nil {
			t.Fatal(err)
		}
		adopt(t, s)
		standbys = append(standbys, s)
	}
	for flushLSN(t, c) <= last {
		if out, err := c.Pgbench(t.Context(), "-n", "-c", "4", "-t", "200", "postgres"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		pgtest.Exec(t, c, moveThings(500)...)
	}
	client, err := pageclient.Dial(d.path("pages/pages.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, s := range standbys {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the recovery pauses", func() bool { return query(t, s, "SELECT pg_get_wal_replay_pause_state()") == "paused" })
		at, err := wal.ParseLSN(query(t, s, "SELECT pg_last_wal_replay_lsn()"))
		if err != nil {
			t.Fatal(err)
		}
		pages := pagesOfStandby(t, s, at)
		failed := 0
		for _, p := range pages {
			if diff := p.differs(t, client); diff != "" {
				if failed++; failed <= 20 {
					t.Errorf("relation %s of %s, fork %s, block %d as of %s: %s", p.request.Rel, p.rmgr, p.request.Fork, p.request.Block, at, diff)
				}
			}
		}
		t.Logf("as of %s: %d pages, %d differ from the standby's", at, len(pages), failed)
		if len(pages) < 1000 {
			t.Errorf("only %d pages were compared", len(pages))
		}
		if err := s.Stop(t.Context(), postgres.Fast); err != nil {
			t.Fatal(err)
		}
	}
	h.stop()
}

// pagesOfStandby reads all pages of the database's relations, but those of free
// space maps, which follow other rules.
func pagesOfStandby(t *testing.T, s *postgres.Cluster, at wal.LSN) (all []savedPage) {
	t.Helper()
	relations := query(t, s, `SELECT string_agg(concat_ws(' ', c.oid::regclass::text,
		CASE WHEN c.reltablespace = 0 THEN (SELECT dattablespace FROM pg_database WHERE datname = current_database()) ELSE c.reltablespace END || '/' ||
		CASE WHEN c.relisshared THEN 0 ELSE (SELECT oid FROM pg_database WHERE datname = current_database()) END || '/' || pg_relation_filenode(c.oid),
		coalesce(a.amname, 'sequence')), E'\n')
		FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam WHERE pg_relation_filenode(c.oid) IS NOT NULL`)
	kinds := map[string]wal.RmgrID{"heap": wal.RmgrHeap, "btree": wal.RmgrBtree, "hash": wal.RmgrHash, "gin": wal.RmgrGin, "gist": wal.RmgrGist,
		"spgist": wal.RmgrSPGist, "brin": wal.RmgrBRIN, "sequence": wal.RmgrSequence}
	for line := range strings.Lines(relations) {
		f := strings.Fields(line)
		kind, known := kinds[f[2]]
		rel, err := pageclient.ParseRelation(f[1])
		if err != nil || !known {
			t.Fatalf("%q: %v", line, err)
		}
		for _, fork := range []wal.ForkNumber{wal.MainFork, wal.VisibilityMapFork} {
			pages, err := hex.DecodeString(query(t, s, fmt.Sprintf("SELECT coalesce(string_agg(encode(get_raw_page('%[1]s', '%[2]s', n::int), 'hex'), '' ORDER BY n), '') FROM generate_series(0, pg_relation_size('%[1]s', '%[2]s') / 8192 - 1) n", f[0], fork)))
			if err != nil {
				t.Fatal(err)
			}
			for n := range len(pages) / wal.BlockSize {
				all = append(all, savedPage{
					request: pageclient.PageRequest{Rel: rel, Fork: fork, Block: wal.BlockNumber(n), LSN: at, Wait: patience},
					rmgr:    kind, bytes: pages[n*wal.BlockSize : (n+1)*wal.BlockSize],
				})
			}
		}
	}
	return all
}
