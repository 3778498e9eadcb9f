package golden

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/workload"
	"github.com/walplex/walplex/host/internal/waldump"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// versions are the samples that must be there.
var versions = []string{"14.24", "15.18", "16.15", "17.10", "17.11", "18.4", "18.6"}

func open(t *testing.T, version string) *Sample {
	t.Helper()
	s, err := Open(filepath.Join("testdata", version))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What waldump prints of each sample is what the major's pg_waldump printed.
func TestAgainstPgWaldump(t *testing.T) {
	for _, version := range versions {
		s := open(t, version)
		if len(s.Runs) < 10 {
			t.Fatalf("%s: only %d runs are recorded", version, len(s.Runs))
		}
		dir := t.TempDir()
		if err := s.Extract(dir); err != nil {
			t.Fatal(err)
		}
		t.Run(version, func(t *testing.T) {
			t.Setenv("TZ", "UTC")
			t.Chdir(dir)
			for _, run := range s.Runs {
				t.Run(run.Name, func(t *testing.T) { compare(t, s, run) })
			}
		})
	}
}

func compare(t *testing.T, s *Sample, run Run) {
	want, err := s.Output(run)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	program := waldump.Program{Name: "pg_waldump", Stdout: &stdout, Stderr: &stderr}
	status := program.Run(t.Context(), run.Args)
	if status != run.Status {
		t.Errorf("exit status %d, pg_waldump's %d", status, run.Status)
	}
	if got := stderr.String(); got != run.Stderr {
		t.Errorf("on stderr:\n%swant:\n%s", got, run.Stderr)
	}
	if diff := difference(stdout.String(), string(want)); diff != "" {
		t.Error(diff)
	}
}

// difference tells of the first lines that differ, and of how many do.
func difference(got, want string) string {
	if got == want {
		return ""
	}
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "%d lines, want %d", len(g), len(w))
	const shown = 8
	n := 0
	for i := range min(len(g), len(w)) {
		if g[i] == w[i] {
			continue
		}
		if n++; n <= shown {
			fmt.Fprintf(&b, "\nline %d\n got: %swant: %s", i+1, g[i], w[i])
		}
	}
	fmt.Fprintf(&b, "\n%d of the lines differ", n)
	return b.String()
}

// read reads a part's records.
func read(t *testing.T, s *Sample, part workload.Part, use func(*wal.Record)) {
	t.Helper()
	size := wal.SegmentSize(workload.SegmentSizeMB << 20)
	r := xlogreader.New(size.LSN(part.First), xlogreader.Options{SegmentSize: size, File: true, Timeline: part.Timeline, MaxWhole: 2 << 20})
	var rec wal.Record
	for _, name := range part.Names() {
		b, err := s.Segment(name)
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
				if status != xlogreader.NeedMore {
					t.Fatalf("%s: %v", name, status)
				}
				break
			}
			use(&rec)
		}
	}
	if want := size.LSN(part.Last + 1); r.RecordsEnd() != want {
		t.Errorf("records end at %s, want %s", r.RecordsEnd(), want)
	}
}

// Which kinds of record the samples have, -v prints; which they do not, is in
// testdata/unseen.txt.
func TestKinds(t *testing.T) {
	var unseen strings.Builder
	for _, version := range versions {
		s := open(t, version)
		seen := map[string]int{}
		var major wal.Version
		for _, part := range s.Parts {
			read(t, s, part, func(r *wal.Record) {
				seen[r.RmgrID.String()+"/"+r.Operation()]++
				major = r.Version
			})
		}
		var found, missing []string
		for _, kind := range kinds(major) {
			if n := seen[kind]; n == 0 {
				missing = append(missing, kind)
			} else {
				found = append(found, fmt.Sprintf("%s %d", kind, n))
			}
		}
		t.Logf("%s has %s", version, strings.Join(found, ", "))
		fmt.Fprintf(&unseen, "%s: %s\n", version, strings.Join(missing, " "))
	}
	want, err := os.ReadFile(filepath.Join("testdata", "unseen.txt"))
	if err != nil {
		t.Error(err)
	}
	if got := unseen.String(); got != string(want) {
		t.Errorf("kinds of record without a sample are\n%stestdata/unseen.txt has\n%s", got, want)
	}
}

// kinds are all operations of the built-in resource managers of a major.
func kinds(major wal.Version) []string {
	var all []string
	for id := range wal.RmgrMaxBuiltin + 1 {
		for op := range 16 {
			r := wal.Record{RmgrID: id, Info: uint8(op << 4), Version: major}
			if id == wal.RmgrTransaction && op >= 8 {
				break // XLOG_XACT_HAS_INFO, no operation's bit
			}
			if name := r.Operation(); !strings.HasPrefix(name, "UNKNOWN") {
				all = append(all, id.String()+"/"+name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Every method of compression that the server has occurs, in images that redo
// applies and in others, with a hole and without; and each image is a page.
func TestImages(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			s := open(t, version)
			methods := map[wal.BlockFlags]int{}
			checked := 0
			page := make([]byte, wal.PageSize)
			var images wal.Images
			var major wal.Version
			for _, part := range s.Parts {
				read(t, s, part, func(r *wal.Record) {
					major = r.Version
					for i := range r.Blocks {
						b := &r.Blocks[i]
						if !b.HasImage() {
							continue
						}
						methods[b.Flags&wal.BlockImageCompressed]++
						if !b.ApplyImage() {
							checked++
						}
						if err := images.Restore(page, r, b); err != nil {
							t.Errorf("%s, block %d: %v", r.StartLSN, b.ID, err)
						}
					}
				})
			}
			want := []wal.BlockFlags{0, wal.BlockImagePGLZ}
			if npm := version == "17.10" || version == "18.4"; major >= wal.PG15 && !npm {
				want = append(want, wal.BlockImageLZ4, wal.BlockImageZSTD)
			}
			for _, method := range want {
				if methods[method] < 3 {
					t.Errorf("only %d images of compression %#x", methods[method], method)
				}
			}
			if checked < 3 {
				t.Errorf("only %d images that are there to check redo", checked)
			}
		})
	}
}

// 17.11 and 18.6 refer to pages of the visibility map in heap records; 17.10 and
// 18.4, of the same page magic, do not.
func TestTwoLayouts(t *testing.T) {
	for version, want := range map[string]bool{"17.10": false, "18.4": false, "17.11": true, "18.6": true} {
		s := open(t, version)
		got := 0
		for _, part := range s.Parts {
			read(t, s, part, func(r *wal.Record) {
				if r.RmgrID != wal.RmgrHeap {
					return
				}
				for i := range r.Blocks {
					if r.Blocks[i].Fork == wal.VisibilityMapFork {
						got++
					}
				}
			})
		}
		if (got > 0) != want {
			t.Errorf("%s: %d references to the visibility map in heap records", version, got)
		}
	}
}

// The segments that the example replays are those of the sample.
func TestExample(t *testing.T) {
	s := open(t, "15.18")
	files, err := filepath.Glob("../../../examples/wal/*" + suffix)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for i, name := range s.Parts[0].Names()[:len(files)] {
		if got := filepath.Base(files[i]); got != name+suffix {
			t.Errorf("%s, want %s", got, name+suffix)
		}
		got, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(s.dir, walDir, name+suffix))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not the sample's", files[i])
		}
	}
}
