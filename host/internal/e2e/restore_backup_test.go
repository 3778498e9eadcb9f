package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// TestRestore: a backup that was taken under load and the archive beside it are
// recovered to the end and to three kinds of points before it, and each has the
// tables of that moment.
func TestRestore(t *testing.T) {
	for name, settings := range map[string]string{"plain": "", "zstd": `compression = "zstd"`} {
		t.Run(name, func(t *testing.T) {
			c := server(t)
			initPgbench(t, c)
			archive, backups := archiveDir(t, c, "archive"), archiveDir(t, c, "backups")
			backup := filepath.Join(backups, "monday")
			h := start(t, "run", newDirs(t).write(archiveAs(archive, readable+settings), c.DSN()))
			h.says("caught up", 1)
			wait := load(t, c, 4)
			s := baseBackup(t, c, backup, "--archive", archive, "--label", "monday")
			wait()
			type target struct{ name, value, want string }
			targets := []target{{"recovery_target_lsn", flushLSN(t, c).String(), pgbenchTables(t, c)}}
			load(t, c, 1)()
			targets = append(targets, target{"recovery_target_time", query(t, c, "SELECT clock_timestamp()"), pgbenchTables(t, c)})
			load(t, c, 1)()
			pgtest.Exec(t, c, "SELECT pg_create_restore_point('here')")
			targets = append(targets, target{"recovery_target_name", "here", pgbenchTables(t, c)})
			load(t, c, 1)()
			targets = append(targets, target{"recovery_target_timeline", "latest", pgbenchTables(t, c)})
			slotReaches(t, c, "walplex", flushLSN(t, c))
			h.stop()

			start(t, "archive", "verify", archive).wants(0, "the archive is whole")
			start(t, "archive", "get", "--from", archive, s.HistoryFile, filepath.Join(t.TempDir(), "got")).wants(0)
			verify := []string{"--no-parse-wal", backup}
			if settings == "" {
				verify = []string{"--wal-directory", archive, backup}
			}
			if out, err := c.Tool(t.Context(), "pg_verifybackup", verify...).CombinedOutput(); err != nil {
				t.Errorf("pg_verifybackup: %v\n%s", err, out)
			}
			if settings != "" {
				targets = targets[2:] // how segments are stored does not touch the rest
			}
			for i, x := range targets {
				r := restore(t, c, copyBackup, backup, map[string]string{"restore_command": restoreCommand(t, "--from", archive), x.name: x.value})
				if got := pgbenchTables(t, r); got != x.want {
					t.Errorf("%s = %s: the tables are %s, want %s", x.name, x.value, got, x.want)
				}
				if i > 0 && x.want == targets[i-1].want {
					t.Errorf("the tables have not changed before %s", x.name)
				}
				if i == 0 || i == len(targets)-1 {
					amcheck(t, r)
				}
				if err := r.Stop(t.Context(), postgres.Fast); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestRestoreTablespaces: a tablespace comes back where it was put, from a plain
// backup by the mapping, from a tar one by its tablespace_map.
func TestRestoreTablespaces(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	place, archive, backups := archiveDir(t, c, "place"), archiveDir(t, c, "archive"), archiveDir(t, c, "backups")
	if err := shell(t.Context(), c, `mkdir "$2/in"`, place); err != nil { // of the server's user
		t.Fatal(err)
	}
	place = filepath.Join(place, "in")
	pgtest.Exec(t, c, "CREATE TABLESPACE other LOCATION '"+place+"'", "ALTER TABLE pgbench_accounts SET TABLESPACE other")
	conf := newDirs(t).write(archiveAs(archive, readable), c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(backups, "walplex.hcl") // which the server's user can read
	if err := os.WriteFile(public, text, 0o644); err != nil {
		t.Fatal(err)
	}
	moved, unpacked := filepath.Join(backups, "moved"), filepath.Join(backups, "unpacked")
	baseBackup(t, c, filepath.Join(backups, "plain"), "--archive", archive, "--tablespace-mapping", place+"="+moved, "--stream", "main", public)
	baseBackup(t, c, filepath.Join(backups, "tar"), "--archive", archive, "--format", "tar", "--compress", "gzip", "--manifest-checksums", "crc32c", public)
	load(t, c, 1)()
	want := pgbenchTables(t, c)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.stop()
	unpack := `mkdir -m 0700 "$1" "` + unpacked + `"; tar -xzf "$2/base.tar.gz" -C "$1"
		tar -xzf "$2"/[0-9]*.tar.gz -C "` + unpacked + `"
		sed -i "s|` + place + `|` + unpacked + `|" "$1/tablespace_map"; touch "$1/recovery.signal"`
	for name, script := range map[string]string{"plain": copyBackup, "tar": unpack} {
		r := restore(t, c, script, filepath.Join(backups, name), map[string]string{"restore_command": restoreCommand(t, "--from", archive)})
		if got := pgbenchTables(t, r); got != want {
			t.Errorf("%s: the tables are %s, want %s", name, got, want)
		}
		if at := query(t, r, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'other'"); at == place {
			t.Errorf("%s: the tablespace is still at %s", name, at)
		}
		amcheck(t, r)
	}
}

// TestRestoreOfStandby: a backup of a standby needs WAL in the middle of a segment
// that its primary's archive is still receiving.
func TestRestoreOfStandby(t *testing.T) {
	c := server(t)
	insert(t, c, "before", 5000)
	archive := archiveDir(t, c, "archive")
	h := start(t, "run", newDirs(t).write(archiveAs(archive, readable), c.DSN()))
	h.says("caught up", 1)
	s := pgtest.Standby(t, c, keepWAL)
	insert(t, c, "on the standby", 5000)
	caughtUp(t, s, flushLSN(t, c))
	backup := filepath.Join(archiveDir(t, s, "backups"), "b")
	if sum := baseBackup(t, s, backup, "--archive", archive); !sum.Standby {
		t.Errorf("the backup is not of a standby: %+v", sum)
	}
	insert(t, c, "later", 5000)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.stop()
	r := restore(t, c, copyBackup+`; rm -f "$1/standby.signal"`, backup, map[string]string{"restore_command": restoreCommand(t, "--from", archive), "primary_conninfo": ""})
	if got, want := content(t, r), content(t, c); got != want {
		t.Errorf("the table holds %s, want %s", got, want)
	}
	amcheck(t, r)
}

// TestRestoreAlongFailovers: an archive that has followed two promotions restores a
// backup of the first timeline to that one's own end, and to the end of the third.
func TestRestoreAlongFailovers(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	archive, backup := archiveDir(t, c, "archive"), filepath.Join(archiveDir(t, c, "backups"), "b")
	d := newDirs(t)
	settings := readable + `compression = "lz4"`
	conf := d.write(archiveAs(archive, settings), c.DSN())
	h := start(t, "run", conf)
	h.says("caught up", 1)
	baseBackup(t, c, backup, "--archive", archive)
	source, first := c, ""
	for i := range 2 {
		next := pgtest.Standby(t, source, keepWAL)
		load(t, source, 1)()
		end := flushLSN(t, source)
		caughtUp(t, next, end)
		if i == 0 {
			// Timeline 1 goes on where nobody follows: this is only in the archive.
			pgtest.Exec(t, next, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
			eventually(t, "the standby is cut off", func() bool {
				return query(t, next, "SELECT count(*) FROM pg_stat_wal_receiver") == "0"
			})
			load(t, source, 1)()
			end = flushLSN(t, source)
			first = pgbenchTables(t, source)
		}
		slotReaches(t, source, "walplex", end)
		if err := source.Stop(t.Context(), postgres.Immediate); err != nil {
			t.Fatal(err)
		}
		if err := next.Promote(t.Context()); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, next, "ALTER SYSTEM RESET primary_conninfo") // or its own standby has it
		h.reloads(conf, configText(d, archiveAs(archive, settings), next.DSN()), "connecting anew", i+1)
		h.says("the sink follows the switch of timelines", i+1)
		load(t, next, 1)()
		source = next
	}
	last := pgbenchTables(t, source)
	slotReaches(t, source, "walplex", flushLSN(t, source))
	h.stop()
	start(t, "archive", "verify", archive).wants(0, "the archive is whole")
	for tli, want := range map[string]string{"1": first, "3": last, "latest": last} {
		args := []string{"--from", archive}
		if tli == "1" {
			args = append(args, "--timeline", tli)
		}
		r := restore(t, c, copyBackup, backup, map[string]string{"restore_command": restoreCommand(t, args...), "recovery_target_timeline": tli})
		if got := pgbenchTables(t, r); got != want {
			t.Errorf("timeline %s: the tables are %s, want %s", tli, got, want)
		}
		amcheck(t, r)
	}
}

// TestBackupFaults: what goes wrong is said, with the exit status, and leaves
// nothing that looks like a backup.
func TestBackupFaults(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	backups := archiveDir(t, c, "backups")
	dir := filepath.Join(backups, "b")
	try := func(status int, want string, args ...string) {
		t.Helper()
		got, out := exitStatus(t, asServer(t, c, append([]string{"archive", "base-backup", "--checkpoint", "fast"}, args...)...))
		if got != status || !strings.Contains(out, want) {
			t.Errorf("%v: exit status %d, want %d and %q\n%s", args, got, status, want, out)
		}
		if strings.Contains(out, "s3cret") {
			t.Errorf("the password is in the output:\n%s", out)
		}
		wantNames(t, dir+"*")
	}
	try(2, `required flag(s) "to"`)
	try(2, "not both", "--to", dir, "--dsn", "host=/nowhere", "walplex.hcl")
	try(2, "fast or spread", "--to", dir, "--checkpoint", "soon")
	try(2, "add --format tar", "--to", dir, "--compress", "gzip")
	try(2, "--max-rate", "--to", dir, "--max-rate", "fast")
	try(1, "/nowhere", "--to", dir, "--dsn", "host=/nowhere user=postgres password=s3cret")
	try(1, "28000", "--to", dir, "--dsn", c.DSN("user=absent", "password=s3cret"))
	try(1, "--archive: stat /absent", "--to", dir, "--archive", "/absent")

	t.Run("killed", func(t *testing.T) {
		cmd := asServer(t, c, "archive", "base-backup", "--checkpoint", "fast", "--to", dir, "--max-rate", "1M")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.WaitFor(ctx, "SELECT coalesce(max(backup_streamed), 0) > 1000000 FROM pg_stat_progress_basebackup", "t"); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("%v\n%s", err, out.String())
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		wantNames(t, dir+"*", "b.tmp")
		baseBackup(t, c, dir)
		wantNames(t, dir+"*", "b", "b.backup.json")
		if out, err := c.Tool(t.Context(), "pg_verifybackup", "--no-parse-wal", dir).CombinedOutput(); err != nil {
			t.Errorf("pg_verifybackup: %v\n%s", err, out)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		disk := t.TempDir()
		smallDisk(t, disk, "20m")
		to := filepath.Join(disk, "b")
		args := []string{"archive", "base-backup", "--checkpoint", "fast", "--dsn", c.DSN(), "--to", to}
		start(t, args...).wants(1, "no space left on device")
		wantNames(t, disk+"/*")
		mount(t, "-o", "remount,size=500m", disk)
		start(t, args...).wants(0, "verified")
		wantNames(t, disk+"/*", "b", "b.backup.json")
	})
	t.Run("damage on the server", func(t *testing.T) {
		r := server(t, func(o *postgres.Options) { o.Checksums = true })
		insert(t, r, "x", 10_000)
		file := filepath.Join(r.DataDir(), query(t, r, "SELECT pg_relation_filepath('t')"))
		pgtest.Exec(t, r, "CHECKPOINT")
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("damage"), 8192+5000); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "b")
		h := start(t, "archive", "base-backup", "--checkpoint", "fast", "--dsn", r.DSN(), "--to", to)
		h.wants(1, "checksum verification", "XX001")
		wantNames(t, to+"*")
	})
}
