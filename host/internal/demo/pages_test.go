package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/pages"
	"github.com/walplex/walplex/plugins/pagecache"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
)

var droppedPattern = regexp.MustCompile(`msg="demo: orders was dropped" xid=(\d+) by=(\S+) rows=(\d+) sha256=([0-9a-f]{64})`)

// keptDrop reads from a run's log what it has dropped.
func keptDrop(t *testing.T, dir string) (x dropped) {
	t.Helper()
	m := droppedPattern.FindStringSubmatch(string(readFile(t, filepath.Join(dir, "host.log"))))
	if m == nil {
		t.Fatal("the log does not say what was dropped")
	}
	x.xid, x.count = uint32(number(t, m[1])), int64(number(t, m[3]))
	sum, err := hex.DecodeString(m[4])
	if err != nil {
		t.Fatal(err)
	}
	copy(x.sum[:], sum)
	if x.by, err = wal.ParseLSN(m[2]); err != nil {
		t.Fatal(err)
	}
	return x
}

// testPages serves the page cache that a run has kept, proves again what was
// proved with it, and then sees each proof fail.
func testPages(t *testing.T, dir string) {
	k := keptRun(t, dir)
	k.dropped = keptDrop(t, dir)
	sink, err := sinktest.Open(t.Context(), pagecache.Definition(), map[string]any{"directory": k.pagesDir(), "base_backup": true},
		sdk.System{ID: k.control.systemID, Timeline: k.control.timeline, SegmentSize: k.control.size, ServerVersion: k.version}, sinktest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sink.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()

	fails := func(what, want string) {
		t.Helper()
		_, err := k.proveRecovery(t.Context())
		if p := k.proofs[tableClaim]; !errors.Is(err, errDiffers) || p.err == nil || !strings.Contains(p.err.Error(), want) {
			t.Errorf("with %s: %v, %v; want %q", what, err, p.err, want)
		}
	}
	was := k.dropped
	if note, err := k.proveRecovery(t.Context()); err != nil || note != was.String() {
		t.Errorf("the rows are not proved again: %q, %v, %v", note, err, k.proofs[tableClaim].err)
	}
	k.dropped.count++
	fails("another count", "comes back with 5,500 rows, SHA-256 "+hex.EncodeToString(was.sum[:4])+", and had 5,501 rows")
	k.dropped = was
	k.dropped.sum[31]++
	fails("another checksum", "comes back with 5,500 rows")
	k.dropped = was
	k.dropped.count = 0
	fails("an empty table", "had no rows")
	k.dropped = was
	k.dropped.xid += 1 << 20
	fails("another transaction", "transaction "+strconv.Itoa(int(k.dropped.xid)))
	k.dropped = was
	commits := commitPattern.FindAllSubmatch(lastTrail(t, k.trailDir()), -1)
	if len(commits) == 0 {
		t.Fatal("the trail has no commit")
	}
	k.dropped.xid = uint32(number(t, string(commits[len(commits)-1][1])))
	fails("the last transaction, long after the drop", "orders")

	dataDir := filepath.Dir(k.walDir)
	if r, err := k.verifyPages(t.Context(), dataDir); err != nil || !r.Equal() {
		t.Fatalf("the pages are not proved again: %v", err)
	}
	file := untouched(t, dataDir)
	spoil(t, file)
	rel, err := filepath.Rel(dataDir, file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.verifyPages(t.Context(), dataDir); err == nil || !strings.Contains(err.Error(), "pages differ, first "+rel) {
		t.Errorf("with a page that is another in %s: %v", file, err)
	}
	spoil(t, file)
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := k.verifyPages(t.Context(), dataDir); err == nil || !strings.Contains(err.Error(), "pages differ, first "+rel) {
		t.Errorf("without the pages of %s: %v", file, err)
	}
}

var commitPattern = regexp.MustCompile(`(?m)^.*"xid":(\d+),"rmgr":"Transaction","operation":"COMMIT".*$`)

// lastTrail is the last file of a trail.
func lastTrail(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the trail has the files %q: %v", files, err)
	}
	return readFile(t, slices.Max(files))
}

// untouched is a file with pages of the database template1, which nobody uses.
func untouched(t *testing.T, dataDir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dataDir, "base", "1", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.Size() >= wal.BlockSize && strings.Trim(filepath.Base(f), "0123456789") == "" {
			return f
		}
	}
	t.Fatalf("no file has pages: %q", files)
	return ""
}

// spoil turns bytes at the end of a file's first page into others; the second
// time, back.
func spoil(t *testing.T, file string) {
	t.Helper()
	b := readFile(t, file)
	for i := wal.BlockSize - 64; i < wal.BlockSize; i++ {
		b[i] ^= 0xFF
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(b[:wal.BlockSize], 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// testSabotage changes a byte of the archive and a page of the server behind a
// run's back: it fails, names both, and proves the rest.
func testSabotage(t *testing.T, program string) {
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo", "--seconds", "2", "--scale", "1")
	var stderr, stdout bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(io.TeeReader(out, &stdout))
	dir, data := untilLine(t, bufio.NewScanner(r), "recover the dropped table")
	segments, err := filepath.Glob(filepath.Join(dir, "archive", strings.Repeat("[0-9A-F]", wal.SegmentNameLen)))
	if err != nil || len(segments) == 0 {
		t.Fatalf("the archive has the segments %q: %v", segments, err)
	}
	flip(t, segments[0], 4711)
	spoil(t, untouched(t, data))
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	for _, c := range []struct{ in, want string }{
		{stdout.String(), `(?m)^  NO      the archive is pg_wal, byte for byte +differs$`},
		{stdout.String(), `(?m)^  NO      the page cache has every page right +differs$`},
		{stdout.String(), `(?m)^  yes     the audit trail has every record once +[\d,]+ records`},
		{stdout.String(), `(?m)^  yes     the dropped table's rows are all back +5,500 rows`},
		{stdout.String(), `(?m)^  yes     the server stopped under the stream `},
		{stderr.String(), `not proved: the archive is pg_wal, byte for byte: \S*` + filepath.Base(segments[0]) + ` differs from .* at byte 4711,`},
		{stderr.String(), `not proved: the page cache has every page right: 1 of [\d,]+ pages differ, first base/1/`},
	} {
		if !regexp.MustCompile(c.want).MatchString(c.in) {
			t.Errorf("%q does not match %s", c.in, c.want)
		}
	}
}

// TestPagesAreJudged: what compares nothing proves nothing.
func TestPagesAreJudged(t *testing.T) {
	one := pages.Difference{File: "base/5/16384", Block: 3, Reason: "4 bytes differ"}
	for _, c := range []struct {
		r       pages.Report
		atLeast int64
		want    string
	}{
		{pages.Report{Pages: 1000}, 900, ""},
		{pages.Report{}, 0, "only 0 pages"},
		{pages.Report{Pages: 1000}, 1001, "only 1,000 pages were compared, and the server has 1,001 or more"},
		{pages.Report{Pages: 1000, Different: 1200, Differences: []pages.Difference{one}}, 900, "1,200 of 1,000 pages differ, first base/5/16384, page 3: 4 bytes differ"},
		{pages.Report{Pages: 1000, Different: 2}, 900, "2 of 1,000 pages differ"},
	} {
		err := judgePages(&c.r, c.atLeast)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.r, err, c.want)
		}
	}
}
