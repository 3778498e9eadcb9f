package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// filtered is the sink as the host opens it where it has a filter, or none.
type filtered struct {
	sdk.Sink
	yes bool
}

func (f filtered) Open(ctx context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	req.Filtered = f.yes
	return f.Sink.Open(ctx, req)
}

// trailOf writes a trail of several files.
func trailOf(t testing.TB, w *waltest.Writer) (fsys *crashfs.FS, names []string) {
	t.Helper()
	fsys = crashfs.New()
	c := testConfig()
	c.Rotate = minRotate
	s := open(t, fsys, c, w)
	deliver(t, s, w, w.End())
	flush(t, s)
	closeSession(t, s)
	_, names = trailLines(t, fsys)
	return fsys, names
}

// TestVerifyFindsDamage damages a trail of three files in each way.
func TestVerifyFindsDamage(t *testing.T) {
	w := transactions(400)
	// edit replaces line n (from 1) of file i by what change makes of it.
	edit := func(i, n int, change func(line string) string) func(t *testing.T, fsys *crashfs.FS, names []string) {
		return func(t *testing.T, fsys *crashfs.FS, names []string) {
			name := filepath.Join(testDir, names[i])
			lines := strings.SplitAfter(string(readFile(t, fsys, name)), "\n")
			lines[n-1] = change(lines[n-1])
			writeFile(t, fsys, name, []byte(strings.Join(lines, "")))
		}
	}
	replace := func(old, new string) func(string) string {
		return func(line string) string {
			if !strings.Contains(line, old) {
				panic(line + " lacks " + old)
			}
			return strings.Replace(line, old, new, 1)
		}
	}
	remove := func(i int) func(t *testing.T, fsys *crashfs.FS, names []string) {
		return func(t *testing.T, fsys *crashfs.FS, names []string) {
			if err := fsys.Remove(filepath.Join(testDir, names[i])); err != nil {
				t.Fatal(err)
			}
		}
	}
	drop := func(string) string { return "" }
	for _, c := range []struct {
		name     string
		damage   func(t *testing.T, fsys *crashfs.FS, names []string)
		file     int // of the problem, -1: another
		line     int64
		text     string
		problems int64
	}{
		{"a line is gone", edit(1, 10, drop), 1, 10, "a record is missing", 1},
		{"a line is doubled", edit(1, 10, func(l string) string { return l + l }), 1, 11, "begins before the one before it ends", 1},
		{"lines are exchanged", func(t *testing.T, fsys *crashfs.FS, names []string) {
			name := filepath.Join(testDir, names[1])
			lines := bytes.SplitAfter(readFile(t, fsys, name), []byte("\n"))
			lines[9], lines[10] = lines[10], lines[9]
			writeFile(t, fsys, name, bytes.Join(lines, nil))
		}, 1, 10, "a record is missing", 3},
		{"a line is cut", edit(1, 10, func(l string) string { return l[:20] + "\n" }), 1, 10, "does not parse", 1},
		{"a line is no object", edit(1, 10, func(l string) string { return "[]\n" }), 1, 10, "does not parse", 1},
		{"a line is empty", edit(1, 10, func(l string) string { return "\n" + l }), 1, 10, "does not parse", 1},
		{"a field is missing", edit(1, 10, replace(`"rmgr":"Transaction",`, ``)), 1, 10, "fields of a record are missing", 1},
		{"a field of another type", edit(1, 10, replace(`"xid":`, `"xid":-`)), 1, 10, "does not parse", 1},
		{"an LSN that is none", edit(1, 10, replace(`"start_lsn":"0/`, `"start_lsn":"0-`)), 1, 10, "does not parse", 1},
		{"an end before its start", edit(1, 10, replace(`"end_lsn":"0/1`, `"end_lsn":"0/`)), 1, 10, "ends at", 1},
		{"a long line", edit(1, 10, func(l string) string { return strings.Repeat("x", 3*maxLine) + "\n" + l }), 1, 10, "longer than", 1},
		{"another timeline", edit(1, 10, replace(`"timeline":1`, `"timeline":2`)), 1, 10, "the file of timeline 1", 1},
		{"no header", edit(1, 1, drop), 1, 1, "not the header", 2},
		{"the header's cluster", edit(1, 1, replace(`0001",`, `0002",`)), 1, 1, "it is of system 7000000000000000002", 1},
		{"the header's start", edit(1, 1, replace(`"from":"0/`, `"from":"1/`)), 1, 1, "its name says otherwise", 1},
		{"the header's timeline", edit(1, 1, replace(`"timeline":1`, `"timeline":2`)), 1, 1, "its name says otherwise", 1},
		{"the header's level", edit(1, 1, replace(`"level":"record"`, `"level":"loud"`)), 1, 1, `level "loud" is unknown`, 1},
		{"a file without records", func(t *testing.T, fsys *crashfs.FS, names []string) {
			name := filepath.Join(testDir, names[0])
			head, _, _ := bytes.Cut(readFile(t, fsys, name), []byte("\n"))
			writeFile(t, fsys, name, append(head, '\n'))
		}, 0, 1, "has no record", 1},
		{"a file without end", func(t *testing.T, fsys *crashfs.FS, names []string) {
			name := filepath.Join(testDir, names[0])
			b := readFile(t, fsys, name)
			writeFile(t, fsys, name, b[:len(b)-1])
		}, 0, -1, "has no end", 2},
		{"a file in the middle is gone", remove(1), 2, 2, "a record is missing", 1},
		{"the last file is gone", remove(2), -1, 0, "which is not there", 1},
		{"the last file is cut", edit(2, 3, drop), 2, 0, "are durable", 2},
		{"a foreign file", func(t *testing.T, fsys *crashfs.FS, _ []string) {
			writeFile(t, fsys, testDir+"/0.jsonl", nil)
		}, -1, 0, "no file of this trail", 1},
		{"the position is behind its file", func(t *testing.T, fsys *crashfs.FS, _ []string) {
			p, _, err := readPosition(fsys, testDir)
			if err != nil {
				t.Fatal(err)
			}
			p.LSN, p.Seq = p.LSN-8, p.Seq+1
			writeFile(t, fsys, filepath.Join(testDir, positionName), appendPosition(nil, &p))
		}, -1, 0, "the files have them up to", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, names := trailOf(t, w)
			if len(names) != 3 {
				t.Fatalf("%d files", len(names))
			}
			c.damage(t, fsys, names)
			r := verify(t, fsys)
			if r.Problem == nil {
				t.Fatalf("nothing found: %+v", r)
			}
			if c.file >= 0 && r.Problem.File != filepath.Join(testDir, names[c.file]) || c.line >= 0 && r.Problem.Line != c.line || !strings.Contains(r.Problem.String(), c.text) {
				t.Errorf("found %s", r.Problem)
			}
			if c.problems > 0 && r.Problems != c.problems {
				t.Errorf("%d problems, the first %s", r.Problems, r.Problem)
			}
		})
	}
}

// TestDocumentedLines reads the examples in the package documentation back.
func TestDocumentedLines(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(string(src), ",\n//\t ", ","), "//\t", "")
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 4 {
		t.Fatalf("%d examples", len(lines))
	}
	if l, ok := scanLine([]byte(lines[0])); !ok || l.end != 0x3000118 {
		t.Errorf("a record's line reads as %+v, %v", l, ok)
	}
	if h, err := parseHeader([]byte(lines[1])); err != nil || lines[1] != string(appendHeader(nil, &h)) {
		t.Errorf("a header reads as %+v, %v", h, err)
	}
	if s, ok, err := parseRewound([]byte(lines[2])); !ok || err != nil || lines[2] != string(appendRewound(nil, &s)) {
		t.Errorf("a rewound line reads as %+v, %v", s, err)
	}
	body, _, _ := strings.Cut(lines[3], crcKey)
	p, err := parseSlot(fmt.Appendf(nil, `%s%s%08x"}`, body, crcKey, checksum([]byte(body))))
	if err != nil || p.Offset != 381 {
		t.Errorf("a slot reads as %+v, %v", p, err)
	}
	if got := string(appendPosition(nil, &p)); strings.TrimRight(got, " \n") != strings.TrimSpace(lines[3]) {
		t.Errorf("the slot is really %s", strings.TrimRight(got, " \n"))
	}
}

func TestVerifyAccepts(t *testing.T) {
	w := transactions(400)
	t.Run("the first files moved away", func(t *testing.T) {
		fsys, names := trailOf(t, w)
		if err := fsys.Remove(filepath.Join(testDir, names[0])); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, fsys); r.Problem != nil || r.Files != 2 {
			t.Errorf("%+v: %v", r, r.Problem)
		}
	})
	t.Run("lines of other kinds", func(t *testing.T) {
		fsys, names := trailOf(t, w)
		name := filepath.Join(testDir, names[0])
		writeFile(t, fsys, name, append(readFile(t, fsys, name), `{"note":true}`+"\n"...))
		if r := verify(t, fsys); r.Problem != nil || r.Records != int64(len(w.Records())) {
			t.Errorf("%+v: %v", r, r.Problem)
		}
	})
	t.Run("a filter", func(t *testing.T) {
		fsys, names := trailOf(t, w)
		name := filepath.Join(testDir, names[0])
		lines := bytes.SplitAfter(readFile(t, fsys, name), []byte("\n"))
		writeFile(t, fsys, name, bytes.Join(append(lines[:5:5], lines[8:]...), nil))
		if r := verify(t, fsys); r.Problems != 1 {
			t.Errorf("without a filter: %d problems", r.Problems)
		}
		r, err := Verify(t.Context(), fsys, testDir, VerifyOptions{Filtered: true})
		if err != nil || r.Problem != nil {
			t.Errorf("%v, %v", err, r.Problem)
		}
	})
	t.Run("files of a sink with a filter", func(t *testing.T) {
		fsys, c := crashfs.New(), testConfig()
		third := len(w.Records()) / 3
		for i, withFilter := range []bool{false, true, false} {
			sink := filtered{newSink(fsys, &c), withFilter}
			s, err := sinktest.OpenSink(t.Context(), Definition(fsys), sink, system(w), sinktest.Options{Start: w.Options().Start})
			if err != nil {
				t.Fatal(err)
			}
			deliver(t, s, w, w.Records()[(i+1)*third-1].End)
			flush(t, s)
			closeSession(t, s)
		}
		_, names := trailLines(t, fsys)
		if r := verify(t, fsys); len(names) != 3 || r.Problem != nil || r.Partial != 1 || r.Records != int64(3*third) {
			t.Fatalf("%d files, %+v: %v", len(names), r, r.Problem)
		}
		without := func(file, line int) *Report {
			name := filepath.Join(testDir, names[file])
			whole := readFile(t, fsys, name)
			lines := bytes.SplitAfter(whole, []byte("\n"))
			writeFile(t, fsys, name, bytes.Join(append(lines[:line:line], lines[line+1:]...), nil))
			defer writeFile(t, fsys, name, whole)
			return verify(t, fsys)
		}
		if r := without(1, 9); r.Problem != nil || r.Records != int64(3*third-1) {
			t.Errorf("a line less under a filter: %v", r.Problem)
		}
		if r := without(0, 9); r.Problem == nil || !strings.Contains(r.Problem.Reason, "is missing") {
			t.Errorf("a line less before the filter: %v", r.Problem)
		}
		name := filepath.Join(testDir, names[1])
		lines := bytes.SplitAfter(readFile(t, fsys, name), []byte("\n"))
		writeFile(t, fsys, name, bytes.Join(append(lines[:6:6], lines[5:]...), nil))
		if r := verify(t, fsys); r.Problem == nil || !strings.Contains(r.Problem.Reason, "begins before the one before it ends") {
			t.Errorf("a doubled line under a filter: %v", r.Problem)
		}
	})
	t.Run("a sink at work", func(t *testing.T) {
		fsys, c := crashfs.New(), testConfig()
		c.Rotate = minRotate
		s := open(t, fsys, c, w)
		if r := verify(t, fsys); r.Problem != nil || r.Records != 0 || r.Position.LSN != 0 {
			t.Errorf("before the first record %+v: %v", r, r.Problem)
		}
		half := w.Records()[300].End
		deliver(t, s, w, half)
		flush(t, s)
		deliver(t, s, w, w.End()) // written, with a file more, and not flushed
		if r := verify(t, fsys); r.Problem != nil || r.Last != half || r.Behind == 0 {
			t.Errorf("%+v: %v", r, r.Problem)
		}
	})
}

func TestVerifyFails(t *testing.T) {
	w := transactions(400)
	t.Run("no trail", func(t *testing.T) {
		if _, err := Verify(t.Context(), durable.OS{}, t.TempDir(), VerifyOptions{}); err == nil || !strings.Contains(err.Error(), "no directory of an audit sink") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a newer version", func(t *testing.T) {
		fsys, names := trailOf(t, w)
		name := filepath.Join(testDir, names[1])
		writeFile(t, fsys, name, bytes.Replace(readFile(t, fsys, name), []byte(`{"walplex_audit":1`), []byte(`{"walplex_audit":2`), 1))
		if _, err := Verify(t.Context(), fsys, testDir, VerifyOptions{}); err == nil || !strings.Contains(err.Error(), names[1]+": its format is version 2") {
			t.Errorf("%v", err)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		fsys, _ := trailOf(t, w)
		fsys.Inject(crashfs.Nth(crashfs.OpRead, "*.jsonl", 2, &crashfs.Fault{Err: fs.ErrPermission}))
		if _, err := Verify(t.Context(), fsys, testDir, VerifyOptions{}); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		fsys, _ := trailOf(t, transactions(1000))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Verify(ctx, fsys, testDir, VerifyOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// TestPositionSlots has slots of which one is torn, at every byte.
func TestPositionSlots(t *testing.T) {
	old := position{Version: 1, Seq: 6, SystemID: 1 << 63, Timeline: 2, LSN: 0x1_0000_0028, File: fileName(wal.Position{Timeline: 2, LSN: 0x28}), Offset: 99}
	now := position{Version: 1, Seq: 7, SystemID: 1 << 63, Timeline: 2, LSN: 0x1_0000_0128, File: old.File, Offset: 1234}
	before := position{Version: 1, Seq: 5, SystemID: 1 << 63, Timeline: 2, LSN: 0x1_0000_0018, File: old.File, Offset: 8}
	a, was, b := appendPosition(nil, &old), appendPosition(nil, &before), appendPosition(nil, &now)
	if len(a) != slotSize || len(b) != slotSize {
		t.Fatalf("slots of %d and %d bytes", len(a), len(b))
	}
	fsys := crashfs.New()
	if err := fsys.MkdirAll(testDir, dirMode); err != nil {
		t.Fatal(err)
	}
	end := bytes.IndexByte(b, '}') + 1
	for n := range end + 1 {
		for what, tail := range map[string][]byte{"the slot before": was[n:], "zeros": make([]byte, slotSize-n)} {
			torn := append(append([]byte(nil), b[:n]...), tail...)
			writeFile(t, fsys, filepath.Join(testDir, positionName), append(append([]byte(nil), a...), torn...))
			want := old
			if bytes.Equal(torn[:end], b[:end]) {
				want = now
			}
			if got, found, err := readPosition(fsys, testDir); err != nil || !found || got != want {
				t.Fatalf("%d bytes of the slot over %s: %+v, %v, %v", n, what, got, found, err)
			}
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add(appendPosition(nil, &position{Seq: 1, Timeline: 1}))
	f.Add([]byte(`{"walplex_audit_position":1,"crc32c":"00000000"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := fmt.Appendf(b[:len(b):len(b)], `%s%08x"}`, crcKey, checksum(b))
		for _, slot := range [][]byte{b, sealed} {
			p, err := parseSlot(slot)
			if err == nil {
				if q, err := parseSlot(appendPosition(nil, &p)); err != nil || q != p {
					t.Fatalf("%+v becomes %+v, %v", p, q, err)
				}
			} else if err != errTorn && !sdk.IsPermanent(err) {
				t.Fatalf("%v is neither torn nor permanent", err)
			}
		}
	})
}

// BenchmarkSink writes batches of records to a real file, with a flush for each
// 4 MiB of WAL; BenchmarkVerify reads them back.
func BenchmarkSink(b *testing.B) {
	w := transactions(50_000)
	b.ReportAllocs()
	for b.Loop() {
		c := testConfig()
		c.Directory = b.TempDir()
		s := open(b, durable.OS{}, c, w)
		for s.Next() < w.End() {
			deliver(b, s, w, min(s.Next()+4<<20, w.End()))
			flush(b, s)
		}
		closeSession(b, s)
		if err := os.RemoveAll(c.Directory); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(w.Records()))/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkVerify(b *testing.B) {
	w := transactions(50_000)
	c := testConfig()
	c.Directory = b.TempDir()
	s := open(b, durable.OS{}, c, w)
	deliver(b, s, w, w.End())
	flush(b, s)
	for b.Loop() {
		if r, err := Verify(b.Context(), durable.OS{}, c.Directory, VerifyOptions{}); err != nil || r.Problem != nil {
			b.Fatal(err, r)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(w.Records()))/b.Elapsed().Seconds(), "records/s")
}
