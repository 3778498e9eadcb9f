package waldump

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// outcome is what a program printed, and its exit status.
type outcome struct {
	stdout, stderr string
	status         int
}

// ours runs Run as the program pg_waldump.
func ours(t testing.TB, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := Program{Name: "pg_waldump", Stdout: &stdout, Stderr: &stderr}.Run(t.Context(), args)
	return outcome{stdout.String(), stderr.String(), status}
}

// theirs runs the installed pg_waldump.
func theirs(t testing.TB, c *postgres.Cluster, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := c.Tool(t.Context(), "pg_waldump", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	// getopt says argv[0], which is a path here.
	text := strings.ReplaceAll(stderr.String(), cmd.Path+": ", "pg_waldump: ")
	return outcome{stdout.String(), text, cmd.ProcessState.ExitCode()}
}

func compare(t *testing.T, got, want outcome) {
	t.Helper()
	if got.status != want.status || got.stderr != want.stderr {
		t.Errorf("status %d, stderr:\n%swant status %d, stderr:\n%s", got.status, got.stderr, want.status, want.stderr)
	}
	if got.stdout == want.stdout {
		return
	}
	a, b := strings.Split(got.stdout, "\n"), strings.Split(want.stdout, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("line %d of %d is\n%s\nwant, of %d,\n%s", i+1, len(a), a[i], len(b), b[i])
		}
	}
	t.Fatalf("%d lines, want %d", len(a), len(b))
}

// workload is a stopped cluster with 1 MiB segments after testdata/workload.sql.
type workload struct {
	c          *postgres.Cluster
	dir        string   // of the segments
	names      []string // of all segments there are, in order
	start, end wal.LSN  // of the first segment; insert position at the end
	rel        string   // T/D/R of table parent
	xid        string
}

const segment = wal.SegmentSize(1 << 20)

func runWorkload(t *testing.T) *workload {
	t.Helper()
	c := pgtest.Start(t, func(o *postgres.Options) {
		o.SegmentSizeMB = 1
		o.Conf = map[string]string{
			"wal_level": "logical", "wal_keep_size": "2GB", "max_wal_size": "2GB", "max_prepared_transactions": "5",
			"track_commit_timestamp": "on", "wal_compression": "lz4", "autovacuum": "off", "bgwriter_lru_maxpages": "0",
		}
	})
	sql, err := os.ReadFile(filepath.Join("testdata", "workload.sql"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var xid string
	for statement := range strings.SplitSeq(string(sql), ";\n") {
		for part := range strings.SplitSeq(statement, "; ") {
			if _, err := conn.PgConn().Exec(t.Context(), part).ReadAll(); err != nil {
				t.Fatalf("%s: %v", part, err)
			}
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := &workload{c: c, dir: c.WALDir()}
	if w.end, err = c.CurrentLSN(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.rel, err = c.QueryString(t.Context(), "select '1663/' || (select oid from pg_database where datname = current_database()) || '/' || pg_relation_filenode('parent')"); err != nil {
		t.Fatal(err)
	}
	if xid, err = c.QueryString(t.Context(), "select xmin from parent where id = 5000"); err != nil {
		t.Fatal(err)
	}
	w.xid = xid
	if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	w.names = segmentNames(t, w.dir)
	_, first, err := segment.ParseFileName(w.names[0])
	if err != nil {
		t.Fatal(err)
	}
	w.start = segment.LSN(first)
	return w
}

func segmentNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if wal.IsSegmentName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// file is the path of the segment that holds lsn.
func (w *workload) file(lsn wal.LSN) string {
	return filepath.Join(w.dir, segment.FileName(1, segment.SegNo(lsn)))
}

// TestAsPgWaldump compares everything that is printed, under every option, with
// what the installed pg_waldump prints.
func TestAsPgWaldump(t *testing.T) {
	w := runWorkload(t)
	from, middle := w.start.String(), (w.start + (w.end-w.start)/2).AlignUp()
	p := []string{"-p", w.dir, "-s", from}
	cases := map[string][]string{
		"all, falling off the end": p,
		"to the end":               append(p, "-e", w.end.String()),
		"data directory":           {"--path=" + w.c.DataDir(), "--start=" + from, "--limit", "5"},
		"details":                  append(p, "-b"),
		"long details":             append(p, "--bkp-details"),
		"statistics":               append(p, "-z"),
		"statistics by rmgr":       append(p, "--stats=rmgr"),
		"statistics by record":     append(p, "--stats=record", "-e", w.end.String()),
		"quiet":                    append(p, "-q"),
		"quiet statistics":         append(p, "-qz"),
		"limit":                    append(p, "-n", "100"),
		"limited statistics":       append(p, "-n100", "--stats=record"),
		"no limit":                 append(p, "-n", "-1", "-z"),
		"rmgr":                     append(p, "-r", "heap2", "--rmgr=Btree"),
		"rmgr and limit":           append(p, "-r", "Transaction", "-n", "20"),
		"custom rmgr":              append(p, "-r", "custom200", "-z"),
		"list":                     {"-r", "list"},
		"transaction":              append(p, "-x", w.xid),
		"relation":                 append(p, "-R", w.rel),
		"block of a relation":      append(p, "-R", w.rel, "-B", "1", "-b"),
		"block of a fork":          append(p, "-R", w.rel, "-B", "0", "-F", "vm"),
		"fork":                     append(p, "--fork=fsm"),
		"full pages":               append(p, "-w"),
		"statistics of full pages": append(p, "--fullpage", "--stats=record", "-R", w.rel),
		"segment":                  {w.file(middle)},
		"segments":                 {w.file(w.start), filepath.Base(w.file(middle))},
		"segments of a path":       {"-p", w.dir, filepath.Base(w.file(w.start)), w.file(middle), "-z"},
		"segment with start":       {w.file(middle), "-s", middle.String(), "-b"},
		"segment with end":         {w.file(middle), "-e", middle.String()},
		"timeline that is missing": append(p, "-t", "7"),
		"mid-record":               {"-p", w.dir, "-s", (middle + 5).String(), "-n", "3"},
		"odd end":                  append(p, "-e", (middle + 3).String(), "-z"),
		"end before start":         {"-p", w.dir, "-s", middle.String(), "-e", from},
		"start behind the end":     {"-p", w.dir, "-s", (w.end + 8*wal.PageSize).String()},
		"segment that is missing":  {"-p", w.dir, "-s", "F/1000000"},
		"operand behind options":   {"-n", "3", w.file(middle), "-q"},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			want := theirs(t, w.c, args...)
			compare(t, ours(t, args...), want)
			for _, jobs := range []string{"--jobs=1", "--jobs=3"} {
				compare(t, ours(t, append(slices.Clone(args), jobs)...), want)
			}
		})
	}
	t.Run("every start in a page", func(t *testing.T) {
		page := middle &^ (wal.PageSize - 1)
		for lsn := page; lsn < page+300; lsn += 7 {
			args := []string{"-p", w.dir, "-s", lsn.String(), "-n", "2"}
			compare(t, ours(t, args...), theirs(t, w.c, args...))
		}
	})
	t.Run("every end in a page", func(t *testing.T) {
		// pg_waldump itself reads stale memory where the end lies in a page's header.
		page := middle &^ (wal.PageSize - 1)
		for lsn := page + 64; lsn < page+400; lsn += 5 {
			args := []string{"-p", w.dir, "-s", (page - 4*wal.PageSize).String(), "-e", lsn.String()}
			compare(t, ours(t, args...), theirs(t, w.c, args...))
		}
	})
	t.Run("bad options", func(t *testing.T) { testBadOptions(t, w) })
	t.Run("custom resource managers", func(t *testing.T) { testCustom(t, w) })
	t.Run("damaged", func(t *testing.T) { testDamaged(t, w) })
	t.Run("json", func(t *testing.T) { testJSON(t, w) })
	t.Run("images", func(t *testing.T) { testImages(t, w) })
	t.Run("interrupted", func(t *testing.T) { testInterrupted(t, w) })
}

// testBadOptions compares what is said of command lines that cannot be.
func testBadOptions(t *testing.T, w *workload) {
	p := []string{"-p", w.dir}
	file := filepath.Base(w.file(w.start))
	for _, args := range [][]string{
		nil, {"-k"}, {"--foo"}, {"--foo=bar"}, {"-n"}, {"--limit"}, {"--quiet=3"}, {"--st"}, {"--st=record"}, {"-q", "-V"}, {"-q", "--help"}, {"-q?"},
		append(p, "-s", "foo"), append(p, "-e", "0"), append(p, "-s", "0/"), append(p, "-s", "/1"), append(p, "-t", "x"), append(p, "-x", "q"), append(p, "-n", "x"),
		{"-R", "1/2"}, {"-R", "0/1/2"}, {"-B", "x"}, {"-B", "4294967295"}, {"-B", "3"}, {"-F", "foo"}, {"-F", "MAIN"}, {"-r", "foo"}, {"-r", "custom5"}, {"-r", "customer"},
		{"--stats=foo"}, {"a", "b", "c", "d"}, {"nofile"}, {"-p", "/nonexistent"}, {"-p", "/nonexistent", "-q", "file"}, {"/nonexistent/" + file}, {"-p", "/dev"},
		p, append(p, "-s", "0/0"), append(p, "-s", "0/28"), append(p, "-z"), append(p, "000000010000000000000FFF"),
		append(p, w.names[2], w.names[1]), append(p, w.names[1], "nofile"), append(p, w.names[1], "-s", "F/1000028"), append(p, w.names[1], "-e", "F/1000028"),
		append(p, w.names[1], w.names[2], "-e", "F/1000028"), append(p, "--", "-q"),
	} {
		got, want := ours(t, args...), theirs(t, w.c, args...)
		if got != want {
			t.Errorf("%q: %+v\nwant %+v", args, got, want)
		}
	}
}

// readableDirectory is one that pg_waldump can read, which runs as another user.
func readableDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err == nil {
			_ = os.Chmod(d, st.Mode().Perm()|0o055)
		}
	}
	return dir
}

// testDamaged compares what is said of WAL in which bytes were changed or cut off.
func testDamaged(t *testing.T, w *workload) {
	dir := readableDirectory(t)
	for _, name := range w.names {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string) {
		t.Helper()
		for _, option := range []string{"-q", "-z"} {
			args := []string{"-p", dir, "-s", w.start.String(), "-e", w.end.String(), option}
			want := theirs(t, w.c, args...)
			for _, jobs := range []string{"--jobs=1", "--jobs=2"} {
				got := ours(t, append(slices.Clone(args), jobs)...)
				if got != want {
					t.Errorf("%s, %s %s: status %d, stderr %q\nwant status %d, stderr %q, the same output: %v",
						what, option, jobs, got.status, got.stderr, want.status, want.stderr, got.stdout == want.stdout)
				}
			}
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		lsn := w.start + wal.LSN(rnd.Uint64N(uint64(w.end-w.start)))
		if rnd.IntN(3) == 0 {
			lsn = lsn&^(wal.PageSize-1) + wal.LSN(rnd.IntN(24)) // a page's header
		}
		path := filepath.Join(dir, filepath.Base(w.file(lsn)))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := segment.Offset(lsn)
		old := b[at]
		b[at] ^= byte(1 << rnd.IntN(8))
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("byte at %s from %02x to %02x", lsn, old, b[at]))
		b[at] = old
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, filepath.Base(w.file(w.start+(w.end-w.start)/2)))
	if err := os.Truncate(path, 5*wal.PageSize); err != nil {
		t.Fatal(err)
	}
	check("segment of five pages")
	if err := os.WriteFile(path, make([]byte, segment), 0o644); err != nil {
		t.Fatal(err)
	}
	check("segment of zeros")
}

func testJSON(t *testing.T, w *workload) {
	args := []string{"-p", w.dir, "-s", w.start.String(), "-e", w.end.String()}
	text := strings.Split(strings.TrimSpace(ours(t, args...).stdout), "\n")
	objects := strings.Split(strings.TrimSpace(ours(t, append(args, "--json")...).stdout), "\n")
	if len(text) != len(objects) {
		t.Fatalf("%d objects for %d lines", len(objects), len(text))
	}
	for i, line := range objects {
		var o struct {
			StartLSN    wal.LSN `json:"start_lsn"`
			Rmgr        string
			Operation   string
			Description string
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lsn := fmt.Sprintf("lsn: %X/%08X, ", uint32(o.StartLSN>>32), uint32(o.StartLSN))
		if !strings.Contains(text[i], lsn) || !strings.Contains(text[i], "desc: "+o.Operation+" "+o.Description) || !strings.HasPrefix(text[i], "rmgr: "+o.Rmgr+" ") {
			t.Fatalf("%s\nis not\n%s", line, text[i])
		}
	}
	for line := range strings.Lines(ours(t, append(args, "--json", "--stats=record")...).stdout) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func testImages(t *testing.T, w *workload) {
	dir := filepath.Join(t.TempDir(), "images")
	args := []string{"-p", w.dir, "-s", w.start.String(), "-e", w.end.String(), "-b", "--save-fullpage", dir}
	out := ours(t, args...)
	if out.status != 0 {
		t.Fatal(out.stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.stdout, "(FPW"); n == 0 || n != len(entries) {
		t.Errorf("%d files for %d images", len(entries), n)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() != wal.BlockSize || !strings.HasPrefix(e.Name(), "00000001-00000000-") {
			t.Errorf("file %s: %v", e.Name(), err)
		}
	}
	again := ours(t, args...)
	if want := fmt.Sprintf("pg_waldump: error: directory %q exists but is not empty\n", dir); again.status != 1 || again.stderr != want {
		t.Errorf("into a directory that is not empty: status %d, %s", again.status, again.stderr)
	}
}

// interrupter cancels at the first byte written.
type interrupter struct {
	bytes.Buffer
	cancel context.CancelFunc
	once   sync.Once
}

func (i *interrupter) Write(b []byte) (int, error) {
	i.once.Do(i.cancel)
	return i.Buffer.Write(b)
}

func testInterrupted(t *testing.T, w *workload) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &interrupter{cancel: cancel}
	var stderr bytes.Buffer
	args := []string{"-p", w.dir, "-s", w.start.String(), "-f"}
	if status := (Program{Name: "x", Stdout: out, Stderr: &stderr}).Run(ctx, args); status != 0 || stderr.Len() != 0 {
		t.Errorf("following, interrupted: status %d, %s", status, &stderr)
	}
	if !strings.HasPrefix(out.String(), "rmgr: ") {
		t.Errorf("nothing was shown before the interruption: %q", out.String())
	}
}

// TestFollow shows records that come after the end was reached.
func TestFollow(t *testing.T) {
	c := pgtest.Start(t, func(o *postgres.Options) { o.SegmentSizeMB = 1 })
	start, err := c.CurrentLSN(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, c, "select pg_logical_emit_message(false, 'first', '')", "checkpoint")
	shown := make(chan outcome)
	go func() {
		shown <- ours(t, "-p", c.WALDir(), "-s", start.String(), "-f", "-r", "LogicalMessage", "-n", "3")
	}()
	pgtest.Exec(t, c, "select pg_logical_emit_message(false, 'second', repeat('x', 3000000))", "select pg_switch_wal()",
		"select pg_logical_emit_message(true, 'third', '')")
	got := <-shown
	for _, prefix := range []string{"first", "second", "third"} {
		if !strings.Contains(got.stdout, `prefix "`+prefix+`"`) {
			t.Errorf("no message %s", prefix)
		}
	}
	if got.status != 0 || strings.Count(got.stdout, "\n") != 3 {
		t.Errorf("status %d, %d lines, stderr %s", got.status, strings.Count(got.stdout, "\n"), got.stderr)
	}
}
