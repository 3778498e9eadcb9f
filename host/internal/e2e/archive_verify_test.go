package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// verifyArchive runs the command and reads its report; the exit status must agree
// with that.
func verifyArchive(t *testing.T, dir string) *archiveverify.Report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "archive", "verify", "--json", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var r archiveverify.Report
	if jerr := json.Unmarshal(out, &r); jerr != nil {
		t.Fatalf("archive verify --json: %v, %v\n%s%s", err, jerr, out, &stderr)
	}
	if r.Whole != (cmd.ProcessState.ExitCode() == 0) || !r.Whole && cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit status %d, the report says whole: %v", cmd.ProcessState.ExitCode(), r.Whole)
	}
	if !strings.Contains(stderr.String(), "/s") || strings.Contains(stderr.String(), "\r") {
		t.Errorf("on standard error, which is no terminal: %q", &stderr)
	}
	return &r
}

func wantWhole(t *testing.T, r *archiveverify.Report) {
	t.Helper()
	if !r.Whole {
		t.Errorf("want a whole archive: %d holes, faults %+v", r.Holes, r.Faults)
	}
}

// copyArchive copies the files of directories into a new one.
func copyArchive(t *testing.T, dirs ...string) string {
	t.Helper()
	to := t.TempDir()
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "0*"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", dir, names, err)
		}
		for _, name := range names {
			copyFile(t, name, filepath.Join(to, filepath.Base(name)))
		}
	}
	return to
}

// verifyPromoted verifies the archive of two timelines, and wrong histories.
func verifyPromoted(t *testing.T, oldDir, newDir string) {
	t.Helper()
	dir := copyArchive(t, oldDir, newDir)
	r := verifyArchive(t, dir)
	wantWhole(t, r)
	if len(r.Timelines) != 2 || r.Timelines[1].Parent != 1 {
		t.Fatalf("timelines: %+v", r.Timelines)
	}
	point := r.Timelines[1].Begins
	first := segment.FileName(2, segment.SegNo(point))
	history := filepath.Join(dir, "00000002.history")
	for _, wrong := range []wal.LSN{point - 8, point + 8, point + wal.LSN(segment), 0} {
		line := fmt.Sprintf("1\t%s\tno recovery target specified\n", wrong)
		if wrong == 0 {
			line = ""
		}
		if err := os.WriteFile(history, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		r := verifyArchive(t, dir)
		if r.FaultsTotal == 0 || r.Faults[0].Timeline != 2 || r.Faults[0].File != first && r.Faults[0].File != "00000002.history" {
			t.Errorf("switch point %s instead of %s: %+v", wrong, point, r.Faults)
		}
	}
}

// TestArchiveVerifyServers: no false alarm on what servers, pg_receivewal and the
// sink leave, and each damage is found and named.
func TestArchiveVerifyServers(t *testing.T) {
	c := server(t)
	createSlot(t, c)
	d := newDirs(t)
	conf := d.write(archiveOnly, c.DSN())
	initPgbench(t, c)
	load(t, c, 3)()
	pgtest.Exec(t, c, "SELECT pg_switch_wal()", "CREATE TABLE big AS SELECT repeat(md5(n::text), 100) AS v FROM generate_series(1, 2000) n")
	start(t, "run", "--until", "caught-up", conf).wants(0)
	end := flushLSN(t, c)
	sink := verifyArchive(t, d.path("archive"))
	wantWhole(t, sink)
	if got := sink.Timelines[0].To; got < end-100 || got > end {
		t.Errorf("the sink's archive is valid up to %s, want %s", got, end)
	}
	for _, compress := range []string{"none", "gzip", "lz4"} {
		dir := archiveDir(t, c, "receivewal-"+compress)
		// Without a slot it would begin at the end.
		pgtest.Exec(t, c, fmt.Sprintf("SELECT pg_copy_physical_replication_slot('receiver', 'r_%s')", compress))
		receive(t, c, dir, "r_"+compress, "--compress", compress)
		r := verifyArchive(t, dir)
		wantWhole(t, r)
		if compress != "none" && r.Timelines[0].Compressed == 0 || r.Records < 1000 {
			t.Errorf("%s: %+v", compress, r)
		}
	}
	pgWAL := verifyArchive(t, copyArchive(t, c.WALDir()))
	wantWhole(t, pgWAL)
	damage(t, copyArchive(t, filepath.Join(c.Dir(), "receivewal-none")))
}

// damage damages an archive in every way, and mends it again.
func damage(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "0*[0-9A-F]"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%v, %v", names, err)
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	records := recordsOf(t, names)
	for range 25 {
		rec := records[rnd.IntN(len(records)-1)]
		at := rec.StartLSN + wal.RecordHeaderSize + wal.LSN(rnd.IntN(int(rec.TotalLen-wal.RecordHeaderSize)))
		if rec.StartLSN/wal.PageSize != (at+1)/wal.PageSize {
			continue // it may lie in a page header
		}
		name := filepath.Join(dir, segment.FileName(1, segment.SegNo(at)))
		mend := change(t, name, func(b []byte) []byte {
			b[segment.Offset(at)] ^= 1 << rnd.IntN(8)
			return b
		})
		expectFault(t, dir, filepath.Base(name), rec.StartLSN)
		mend()
	}
	a, b := names[3], names[6]
	startOf := func(name string) wal.LSN {
		_, n, err := segment.ParseFileName(filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		return segment.LSN(n)
	}
	mend := change(t, a, func(p []byte) []byte { return p[:300_000] })
	expectFault(t, dir, filepath.Base(a), startOf(a)+300_000)
	mend()

	mend = change(t, a, func([]byte) []byte { return nil })
	expectFault(t, dir, filepath.Base(a), startOf(a))
	mend()

	swap := func() {
		for _, r := range [][2]string{{a, a + ".x"}, {b, a}, {a + ".x", b}} {
			if err := os.Rename(r[0], r[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap()
	expectFault(t, dir, filepath.Base(a), startOf(a))
	expectFault(t, dir, filepath.Base(b), startOf(b))
	swap()

	if err := os.Rename(a, filepath.Join(t.TempDir(), "x")); err != nil {
		t.Fatal(err)
	}
	r := verifyArchive(t, dir)
	if hole := (archiveverify.Hole{From: startOf(a), To: startOf(a) + wal.LSN(segment), Segments: 1}); r.Holes != 1 || r.FaultsTotal != 0 || r.Timelines[0].Holes[0] != hole {
		t.Errorf("without %s: holes %+v, faults %+v", a, r.Timelines[0].Holes, r.Faults)
	}
}

// change changes a file; mend undoes it.
func change(t *testing.T, name string, f func([]byte) []byte) (mend func()) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func(p []byte) {
		if err := os.WriteFile(name, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(f(bytes.Clone(b)))
	return func() { write(b) }
}

func expectFault(t *testing.T, dir, file string, lsn wal.LSN) {
	t.Helper()
	r := verifyArchive(t, dir)
	for _, f := range r.Faults {
		if f.File == file && f.LSN == lsn {
			return
		}
	}
	t.Errorf("the fault of %s at %s is not found: %+v", file, lsn, r.Faults)
}

// recordsOf reads the records of segments that follow each other.
func recordsOf(t *testing.T, names []string) []wal.Record {
	t.Helper()
	_, n, err := segment.ParseFileName(filepath.Base(names[0]))
	if err != nil {
		t.Fatal(err)
	}
	r := xlogreader.New(segment.LSN(n), xlogreader.Options{SegmentSize: segment, MaxWhole: wal.MaxRecordSize, File: true})
	var all []wal.Record
	var rec wal.Record
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r.Feed(b)
		for {
			status, err := r.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if status != xlogreader.Record {
				break
			}
			if rec.TotalLen > wal.RecordHeaderSize {
				all = append(all, wal.Record{StartLSN: rec.StartLSN, EndLSN: rec.EndLSN, TotalLen: rec.TotalLen})
			}
		}
	}
	return all
}
