package archiveverify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/host/internal/golden"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestWhole: every kind of record, in every form of a file, of every version.
func TestWhole(t *testing.T) {
	for seed := range uint64(6) {
		w := waltest.Random(seed, waltest.Options{Version: wal.Version(14 + seed%5)}, 7<<20)
		f := files{}
		for name, b := range (files{}).add(w, 1, 0) {
			suffix := []string{"", ".gz", ".lz4", ".zst"}[len(f)%4]
			f[name+suffix] = pack(t, suffix, b)
		}
		r := f.verify(t)
		whole(t, r)
		if r.Records != int64(len(w.Records())) || r.Timelines[0].To != last(w).End || r.Timelines[0].From != w.Options().Start || r.SystemID != w.Options().SystemID {
			t.Errorf("seed %d: want %d records up to %s, got\n%s", seed, len(w.Records()), last(w).End, text(t, r))
		}
	}
}

// TestFlippedBits: any bit of any record.
func TestFlippedBits(t *testing.T) {
	w := messages(6<<20 + 100_000)
	f := files{}.add(w, 1, 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	records := w.Records()
	records = records[:len(records)-2] // behind the last, nothing shows that it was one
	for range 60 {
		rec := records[rnd.IntN(len(records))]
		lsn := rec.Start + wal.LSN(rnd.IntN(int(rec.End-rec.Start)-8))
		if inHeader(lsn) {
			continue
		}
		bit := rnd.IntN(8)
		r := f.flipped(1, lsn, bit).verify(t)
		name := size.FileName(1, size.SegNo(rec.Start))
		if f[name] == nil {
			name += ".partial"
		}
		one(t, r, name, rec.Start, rec.Start.String())
		if t.Failed() {
			t.Fatalf("bit %d of the byte at %s, in the record from %s to %s", bit, lsn, rec.Start, rec.End)
		}
	}
	// Many at once: each is counted, and the list is limited.
	hurt := f
	want := 0
	for i := 5; i < len(records); i += 10 {
		if !inHeader(records[i].Start + 20) {
			hurt = hurt.flipped(1, records[i].Start+20, 3)
			want++
		}
	}
	if r := hurt.verify(t); r.FaultsTotal != want || len(r.Faults) != min(want, archiveverify.MaxListedFaults) {
		t.Errorf("%d records are damaged, %d faults are found and %d listed", want, r.FaultsTotal, len(r.Faults))
	}
}

// inHeader: in the header of a page, or in bytes that a record and a header share
// the alignment of.
func inHeader(lsn wal.LSN) bool { return lsn%wal.PageSize < 40 }

// TestFlippedHeaders: the fields of page headers.
func TestFlippedHeaders(t *testing.T) {
	w := messages(5 << 20)
	f := files{}.add(w, 1, 0)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		page := (w.Options().Start + wal.LSN(rnd.IntN(5<<20-2*wal.PageSize))) &^ (wal.PageSize - 1)
		offset := []wal.LSN{0, 1, 4, 5, 8, 9, 10, 11, 12}[rnd.IntN(9)]
		if page == w.Options().Start && offset == 4 {
			continue // nothing is known of the first page's timeline
		}
		bit := rnd.IntN(8)
		r := f.flipped(1, page+offset, bit).verify(t)
		found := false
		for _, fault := range r.Faults {
			found = found || fault.LSN == page && fault.File == size.FileName(1, size.SegNo(page))
		}
		if !found {
			t.Errorf("bit %d of the byte at %s is not found:\n%s", bit, page+offset, text(t, r))
		}
	}
}

func TestMissing(t *testing.T) {
	w := messages(8<<20 + 5000)
	f := files{}.add(w, 1, 0)
	name := func(n wal.SegNo) string { return size.FileName(1, n) }
	r := f.with(files{name(3): nil, name(5): nil, name(6): nil}).verify(t)
	if got := fmt.Sprint(r.Timelines[0].Holes); got != "[{0/300000 0/400000 1} {0/500000 0/700000 2}]" || r.Holes != 2 || r.FaultsTotal != 0 || r.Whole {
		t.Errorf("the holes are %s\n%s", got, text(t, r))
	}
	// Without the first or the last the archive is shorter, and whole.
	whole(t, f.with(files{name(1): nil}).verify(t))
	whole(t, f.with(files{name(9) + ".partial": nil}).verify(t))
}

func TestSwapped(t *testing.T) {
	f := files{}.add(messages(8<<20), 1, 0)
	a, b := size.FileName(1, 3), size.FileName(1, 6)
	r := f.with(files{a: f[b], b: f[a]}).verify(t)
	if r.FaultsTotal != 2 || r.Faults[0].File != a || r.Faults[0].LSN != 0x300000 || r.Faults[1].File != b || r.Faults[1].LSN != 0x600000 ||
		!strings.Contains(r.Faults[0].Reason, "unexpected pageaddr 0/600000 in WAL segment "+a) {
		t.Errorf("%s and %s were swapped:\n%s", a, b, text(t, r))
	}
	// The last two: the one with older WAL could be a recycled one.
	a, b = size.FileName(1, 7), size.FileName(1, 8)
	r = f.with(files{a: f[b], b: f[a], size.FileName(1, 9) + ".partial": nil}).verify(t)
	if r.FaultsTotal != 2 {
		t.Errorf("%s and %s were swapped:\n%s", a, b, text(t, r))
	}
}

func TestSizes(t *testing.T) {
	f := files{}.add(messages(6<<20), 1, 0)
	n := size.FileName(1, 3)
	one(t, f.with(files{n: {}}).verify(t), n, 0x300000, "the file is empty")
	one(t, f.with(files{n: f[n][:500_001]}).verify(t), n, 0x300000+500_001, "the file ends after 500001 bytes")
	one(t, f.with(files{n: append(bytes.Clone(f[n]), 1)}).verify(t), n, 0x400000, "the file goes on")
	packed := pack(t, ".gz", f[n])
	one(t, f.with(files{n: nil, n + ".gz": pack(t, ".gz", f[n][:1<<19])}).verify(t), n+".gz", 0x380000, "the file ends after 524288 bytes")
	r := f.with(files{n: nil, n + ".gz": packed[:len(packed)-3]}).verify(t)
	one(t, r, n+".gz", 0x300000, "unexpected EOF")
	packed[len(packed)-6] ^= 1
	one(t, f.with(files{n: nil, n + ".gz": packed}).verify(t), n+".gz", 0x300000, "checksum")
	one(t, f.with(files{n: nil, n + ".zst": []byte("nonsense")}).verify(t), n+".zst", 0x300000, "")
	one(t, f.with(files{n: make([]byte, size)}).verify(t), n, 0x300000, "invalid magic number 0000 in WAL segment "+n)
	one(t, f.with(files{n: bytes.Repeat([]byte{0x55}, int(size))}).verify(t), n, 0x300000, "invalid magic number 5555")
	cut := bytes.Clone(f[n])
	clear(cut[600_000:])
	r = f.with(files{n: cut}).verify(t)
	if r.FaultsTotal != 1 || r.Faults[0].File != n || r.Faults[0].LSN < 0x300000+580_000 || r.Faults[0].LSN > 0x300000+608_000 {
		t.Errorf("zeros from 0/392800 on:\n%s", text(t, r))
	}
}

// TestEnd: where WAL may end, and how.
func TestEnd(t *testing.T) {
	w := messages(4<<20 + 300_000)
	f := files{}.add(w, 1, 0)
	final := size.FileName(1, 5)
	seg := f[final+".partial"]
	end := size.Offset(last(w).End)
	before := w.Records()[len(w.Records())-2]
	torn := bytes.Clone(seg)
	clear(torn[end-100:])
	recycled := bytes.Clone(f[size.FileName(1, 2)])
	copy(recycled, seg[:(end+wal.PageSize-1)&^(wal.PageSize-1)])
	for _, c := range []struct {
		name string
		f    files
		to   wal.LSN
	}{
		{"padded", nil, last(w).End},
		{"cut short", files{final + ".partial": seg[:end]}, last(w).End},
		{"cut in a record", files{final + ".partial": seg[:end-9]}, before.End},
		{"torn", files{final + ".partial": torn}, before.End},
		{"recycled", files{final + ".partial": recycled}, last(w).End},
		{"as in pg_wal", files{final + ".partial": nil, final: recycled, size.FileName(1, 6): f[size.FileName(1, 1)], size.FileName(1, 7): make([]byte, size)}, last(w).End},
		{"of pg_receivewal --compress", files{final + ".partial": nil, final + ".gz.partial": pack(t, ".gz", seg[:end])}, last(w).End},
		{"compressed", files{final + ".partial": nil, final + ".partial.zst": pack(t, ".zst", seg)}, last(w).End},
		{"nothing yet", files{final + ".partial": {}}, 0},
	} {
		r := f.with(c.f).verify(t)
		whole(t, r)
		line := r.Timelines[0]
		if c.to != 0 && line.To != c.to || !strings.HasPrefix(line.EndsIn, final) {
			t.Errorf("%s: ends at %s in %s, want %s in %s", c.name, line.To, line.EndsIn, c.to, final)
		}
		if c.name == "as in pg_wal" && line.Recycled != 2 {
			t.Errorf("%d recycled segments, want 2", line.Recycled)
		}
	}
	// Damage is not the end.
	rec := w.Records()[len(w.Records())-12]
	one(t, f.flipped(1, rec.Start+22, 1).verify(t), final+".partial", rec.Start, "incorrect resource manager data checksum")
	rec = last(w)
	one(t, f.flipped(1, rec.Start+30, 1).verify(t), final+".partial", rec.Start, "incorrect resource manager data checksum")
	// A partial one with others behind it has to be complete.
	n := size.FileName(1, 3)
	whole(t, f.with(files{n: nil, n + ".partial": f[n]}).verify(t))
	one(t, f.with(files{n: nil, n + ".partial": f[n][:1<<19]}).verify(t), n+".partial", 0x380000, "later segments are there")
}

func TestSeveralForms(t *testing.T) {
	w := messages(4 << 20)
	f := files{}.add(w, 1, 0)
	n := size.FileName(1, 2)
	r := f.with(files{n + ".gz": pack(t, ".gz", f[n]), n + ".zst": pack(t, ".zst", f[n]), n + ".partial": f[n], "notes.txt": {}}).verify(t)
	whole(t, r)
	if r.DoubleForms != 1 || fmt.Sprint(r.Foreign) != "[notes.txt]" || r.Segments != len(f)+3 {
		t.Errorf("double %d, foreign %v, segments %d", r.DoubleForms, r.Foreign, r.Segments)
	}
	half := bytes.Clone(f[n])
	clear(half[1<<19:])
	whole(t, f.with(files{n + ".partial": half}).verify(t))
	other := bytes.Clone(f[n])
	other[700_000] ^= 8
	at := wal.LSN(0x200000 + 700_000)
	for _, suffix := range []string{".gz", ".lz4", ".zst", ".partial", ".partial.gz"} {
		r = f.with(files{n + suffix: pack(t, strings.ReplaceAll(suffix, ".partial", ""), other)}).verify(t)
		one(t, r, n+suffix, at, "it differs from "+n+", at "+at.String())
	}
	one(t, f.with(files{n + ".gz": pack(t, ".gz", half[:1000])}).verify(t), n+".gz", 0x200000, "ends before the segment does")
}

// timelines is an archive of two timelines, whose switch point is in the midst of
// segment 3.
func timelines() (f files, one, two *waltest.Writer, point wal.LSN) {
	one, two = messages(2<<20+400_000), messages(2<<20+400_000)
	point = promoted(two, 2, 1)
	fillUp(two, 5<<20)
	one.LogicalMessage("the old server goes on", 20_000)
	f = files{"00000002.history": history(point)}
	return f.add(one, 1, 0).add(two, 2, point), one, two, point
}

func TestTimelines(t *testing.T) {
	f, w1, w2, point := timelines()
	r := f.verify(t)
	whole(t, r)
	if len(r.Timelines) != 2 || r.Timelines[0].To != last(w1).End || r.Timelines[1].To != last(w2).End || r.Timelines[1].Begins != point || r.Timelines[1].Parent != 1 {
		t.Errorf("two timelines:\n%s", text(t, r))
	}
	first, old := size.FileName(2, 3), size.FileName(1, 3)+".partial"
	packed := f.with(files{first: nil, first + ".zst": pack(t, ".zst", f[first]), old: nil, old + ".gz": pack(t, ".gz", f[old])})
	whole(t, packed.verify(t))
	// The old server's archive ends earlier, in zeros; or is not there at all.
	short := bytes.Clone(f[old])
	clear(short[300_000:])
	whole(t, f.with(files{old: short}).verify(t))
	whole(t, f.with(files{old: nil}).verify(t))

	one(t, f.with(files{"00000002.history": nil}).verify(t), "00000002.history", 0, "is missing")
	one(t, f.with(files{"00000002.history": []byte("nonsense\n")}).verify(t), "00000002.history", 0, "line 1")
	one(t, f.with(files{"00000002.history": {}}).verify(t), "00000002.history", 0, "names no timeline")
	records := w2.Records()
	i := 0
	for records[i].Start != point {
		i++
	}
	one(t, f.with(files{"00000002.history": history(point + 8)}).verify(t), first, point, "it differs from")
	one(t, f.with(files{"00000002.history": history(records[i+1].Start)}).verify(t), first, point, "it differs from")
	// Without the old timeline's bytes its own records tell.
	one(t, f.with(files{old: nil, "00000002.history": history(point + 8)}).verify(t), first, point, "before the switch point")
	one(t, f.with(files{old: nil, "00000002.history": history(records[i+1].Start)}).verify(t), first, point, "begins with the record at")
	one(t, f.with(files{"00000002.history": history(records[i-1].Start)}).verify(t), first, records[i-1].Start, "stands between the switch point")
	one(t, f.with(files{"00000002.history": history(records[i-1].Start + 8)}).verify(t), first, records[i-1].Start+8, "no record begins at the switch point")
	r = f.with(files{"00000002.history": history(point + 1<<20)}).verify(t)
	if r.FaultsTotal == 0 || r.Faults[0].File != first {
		t.Errorf("a switch point one segment later:\n%s", text(t, r))
	}
	r = f.with(files{"00000003.history": []byte(fmt.Sprintf("1\t%s\tx\n2\t0/500000\ty\n", point+8))}).verify(t)
	one(t, r, "00000003.history", 0, "does not repeat the history of timeline 2")

	// The same switch, but other bytes before it.
	other := messages(2 << 20)
	other.LogicalMessage("a split brain", 30_000)
	fillUp(other, 2<<20+400_000)
	g := f.with(nil)
	delete(g, old)
	g.add(other, 1, 0x300000)
	g[size.FileName(1, 1)], g[size.FileName(1, 2)] = other.Bytes()[:size], other.Bytes()[size:2*size]
	r = g.verify(t)
	one(t, r, first, r.Faults[0].LSN, "it differs from "+old+" at 0/3")

	// Holes at the switch.
	r = f.with(files{first: nil}).verify(t)
	if r.Holes != 1 || r.Timelines[1].Holes[0] != (archiveverify.Hole{From: 0x300000, To: 0x400000, Segments: 1}) {
		t.Errorf("without %s:\n%s", first, text(t, r))
	}
	n := size.FileName(1, 2)
	half := bytes.Clone(f[n])
	clear(half[size/2:])
	r = f.with(files{old: nil, n: nil, n + ".partial": half}).verify(t)
	if r.Holes != 1 || r.FaultsTotal != 0 || r.Timelines[0].Holes[0].To != 0x300000 || r.Timelines[0].Holes[0].From != r.Timelines[0].To || r.Timelines[0].To > 0x280000 {
		t.Errorf("timeline 1 ends before timeline 2 begins:\n%s", text(t, r))
	}
	whole(t, f.with(files{old: nil, n: nil, n + ".partial": f[n]}).verify(t))
	r = f.with(files{old: nil, size.FileName(1, 2): nil}).verify(t)
	if r.Holes != 1 || r.Timelines[0].Holes[0] != (archiveverify.Hole{From: 0x200000, To: 0x300000, Segments: 1}) {
		t.Errorf("without the end of timeline 1:\n%s", text(t, r))
	}
}

// TestGoldenSamples: WAL of real servers of every major.
func TestGoldenSamples(t *testing.T) {
	dirs, err := filepath.Glob("../golden/testdata/*/sample.json")
	if err != nil || len(dirs) < 5 {
		t.Fatalf("%d samples, %v", len(dirs), err)
	}
	for _, name := range dirs {
		s, err := golden.Open(filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := s.Extract(dir); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{dir, filepath.Join(filepath.Dir(name), "wal")} {
			r, err := archiveverify.Verify(t.Context(), d, archiveverify.Options{PartSize: 2 << 20})
			if err != nil {
				t.Fatal(err)
			}
			one(t, r, "00000002.history", 0, "is missing")
			if r.Records < 10_000 || r.Holes != 0 {
				t.Errorf("%s:\n%s", name, text(t, r))
			}
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "rewrite the golden file")

// TestJSON: the shape of the report does not change.
func TestJSON(t *testing.T) {
	f, w1, _, _ := timelines()
	f = f.flipped(1, w1.Records()[40].Start+30, 2)
	f[size.FileName(1, 1)+".gz"] = pack(t, ".gz", f[size.FileName(1, 1)])
	f["notes.txt"] = []byte("x")
	f[size.FileName(1, 1)+".00000028.backup"] = []byte("x")
	r := f.with(files{size.FileName(2, 4): nil}).verify(t)
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const name = "testdata/report.json"
	if *rewrite {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
}

func TestNoArchive(t *testing.T) {
	empty := t.TempDir()
	for dir, want := range map[string]string{
		empty:                        "holds no WAL segment",
		filepath.Join(empty, "none"): "no such file",
		files{size.FileName(1, 1): []byte("x")}.write(t): "no segment has a header",
	} {
		if _, err := archiveverify.Verify(t.Context(), dir, archiveverify.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archiveverify.Verify(ctx, files{}.add(messages(1<<20), 1, 0).write(t), archiveverify.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
