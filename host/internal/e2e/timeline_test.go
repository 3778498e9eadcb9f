package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestPromotion: the source is a standby that is promoted under the stream, three
// times over: all three sinks follow, in place.
func TestPromotion(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	d := newDirs(t)
	source := pgtest.Standby(t, c, keepWAL)
	conf := d.write(allSinks, source.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	pid := h.sinkPID("archive")
	wait := load(t, c, 2)
	if err := source.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait() // of the old primary, whose WAL goes elsewhere now
	h.says("the sink follows the switch of timelines", 3)
	load(t, source, 1)()
	end := flushLSN(t, source)
	slotReaches(t, source, "walplex", end)
	if now := h.sinkPID("archive"); now != pid {
		t.Errorf("the archive has become process %d from %d", now, pid)
	}
	compareTimeline(t, source, d.path("archive"), 2, end)

	// Twice more, to servers of other addresses, while the host runs.
	for tli := wal.TimelineID(3); tli <= 4; tli++ {
		next := pgtest.Standby(t, source, keepWAL)
		load(t, source, 1)() // so that the switch is not at the start of a segment
		caughtUp(t, next, flushLSN(t, source))
		if err := source.Stop(t.Context(), postgres.Immediate); err != nil {
			t.Fatal(err)
		}
		if err := next.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.reloads(conf, configText(d, allSinks, next.DSN()), "connecting anew", int(tli)-2)
		h.says("the sink follows the switch of timelines", 3*int(tli-1))
		load(t, next, 1)()
		end = flushLSN(t, next)
		slotReaches(t, next, "walplex", end)
		compareTimeline(t, next, d.path("archive"), tli, end)
		source = next
	}
	h.stop()
	start(t, "audit", "verify", d.path("trail")).wants(0)
	start(t, "archive", "verify", d.path("archive")).wants(0)

	// What the archive holds leads another sink over the same timelines.
	again := newDirs(t)
	start(t, "run", again.write(strings.ReplaceAll(archiveAsSource, "ARCHIVE", d.path("archive")), "")).wants(0)
	verify := start(t, "audit", "verify", again.path("trail"))
	verify.wants(0)
	if log := verify.log(); !strings.Contains(log, end.String()+" on timeline 4") {
		t.Errorf("the trail that was made of the archive does not end at %s on timeline 4:\n%s", end, log)
	}
}

const archiveAsSource = `
stream "replay" {
  archive { directory = "ARCHIVE" }
  sink "audit" "trail" {
    config { directory = "ROOT/trail" }
  }
}`

// TestFailoverWithLoss: the standby that is promoted lacks WAL that the host had
// received from the primary: the sinks leave it, and go on where the new timeline
// begins. So it is when the host was down meanwhile.
func TestFailoverWithLoss(t *testing.T) {
	for name, down := range map[string]bool{"in place": false, "while down": true} {
		t.Run(name, func(t *testing.T) {
			c := server(t)
			initPgbench(t, c)
			d := newDirs(t)
			conf := d.write(allSinks, c.DSN())
			h := start(t, "run", conf)
			h.says("caught up", 1)
			s := pgtest.Standby(t, c, keepWAL)
			caughtUp(t, s, flushLSN(t, c))
			// The standby gets nothing more, the host does.
			pgtest.Exec(t, s, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
			eventually(t, "the standby is cut off", func() bool {
				return query(t, s, "SELECT count(*) FROM pg_stat_wal_receiver") == "0"
			})
			pgtest.Exec(t, c, "CREATE TABLE lost AS SELECT generate_series(1, 20000) AS a")
			lost := flushLSN(t, c)
			slotReaches(t, c, "walplex", lost)
			if down {
				h.stop()
			}
			if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
				t.Fatal(err)
			}
			if err := s.Promote(t.Context()); err != nil {
				t.Fatal(err)
			}
			if down {
				if err := os.WriteFile(conf, []byte(configText(d, allSinks, s.DSN())), 0o600); err != nil {
					t.Fatal(err)
				}
				h = start(t, "run", conf)
			} else {
				h.reloads(conf, configText(d, allSinks, s.DSN()), "connecting anew", 1)
			}
			h.says("the sink follows the switch of timelines", 3)
			load(t, s, 1)()
			end := flushLSN(t, s)
			slotReaches(t, s, "walplex", end)
			h.stop()
			compareTimeline(t, s, d.path("archive"), 2, end)
			start(t, "audit", "verify", d.path("trail")).wants(0)
			if text := allText(t, d.path("trail")); !strings.Contains(text, "rewound") {
				t.Error("the trail does not say that it was rewound")
			}
		})
	}
}

// TestDiverged: a server that has gone another way than what the sinks hold stops
// the stream before anything is written.
func TestDiverged(t *testing.T) {
	c := server(t)
	a, b := pgtest.Standby(t, c, keepWAL), pgtest.Standby(t, c, keepWAL)
	for _, s := range []*postgres.Cluster{a, b} {
		if err := s.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, s, "CREATE TABLE x (a int)")
	}
	pgtest.Exec(t, a, "INSERT INTO x SELECT generate_series(1, 10000)")
	d := newDirs(t)
	start(t, "run", "--until", "caught-up", d.write(archiveOnly, a.DSN())).wants(0)
	before := list(t, d.path("archive"))
	pgtest.Exec(t, b, "INSERT INTO x SELECT generate_series(1, 20000)")
	start(t, "run", "--until", "caught-up", d.write(archiveOnly, b.DSN())).wants(1)
	if after := list(t, d.path("archive")); after != before {
		t.Errorf("the archive has changed from\n%s\nto\n%s", before, after)
	}
}

// keepWAL has a server keep all its WAL.
func keepWAL(o *postgres.Options) {
	if o.Conf == nil {
		o.Conf = map[string]string{}
	}
	o.Conf["wal_keep_size"] = "4GB"
}

// caughtUp waits until a standby has replayed lsn.
func caughtUp(t *testing.T, s *postgres.Cluster, lsn wal.LSN) {
	t.Helper()
	eventually(t, "the standby has "+lsn.String(), func() bool {
		return query(t, s, "SELECT pg_last_wal_replay_lsn() >= '"+lsn.String()+"'") == "t"
	})
}

// configText is what dirs.write writes.
func configText(d dirs, text, dsn string) string {
	b, err := os.ReadFile(d.write(text, dsn))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// compareTimeline holds the archive's segments of a timeline, and its history file,
// against the server's pg_wal.
func compareTimeline(t *testing.T, c *postgres.Cluster, archive string, tli wal.TimelineID, end wal.LSN) {
	t.Helper()
	history, err := os.ReadFile(filepath.Join(c.WALDir(), wal.HistoryFileName(tli)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(archive, wal.HistoryFileName(tli))); err != nil || string(got) != string(history) {
		t.Errorf("%s: %q, %v; want %q", wal.HistoryFileName(tli), got, err, history)
	}
	h, err := wal.ParseHistory(tli, history)
	if err != nil {
		t.Fatal(err)
	}
	for at := segment.Start(h[len(h)-1].Begin); at < end; at = segment.End(at) {
		name := segment.FileName(tli, segment.SegNo(at))
		size := int(min(end, segment.End(at)) - at)
		file := filepath.Join(archive, name)
		if size < int(segment) {
			if _, err := os.Stat(file); err != nil {
				file += wal.PartialSuffix
			}
		}
		compareFiles(t, filepath.Join(c.WALDir(), name), file, size)
	}
	if segment.Offset(h[len(h)-1].Begin) == 0 {
		return // the old timeline has nothing of this segment
	}
	if old, err := filepath.Glob(filepath.Join(archive, segment.FileName(tli-1, segment.SegNo(h[len(h)-1].Begin))+"*")); err != nil || len(old) != 1 {
		t.Errorf("the last segment of timeline %d: %v, %v", tli-1, old, err)
	}
}
