package retention_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/retention"
)

const size = wal.SegmentSize(wal.MinSegmentSize)

// now is the time of the tests.
var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// file reads "43/2.partial": segment and timeline in decimal. Each file has 100
// bytes, and was changed as many hours ago as its segment lies before 100.
func file(t *testing.T, s string) retention.File {
	t.Helper()
	f := retention.File{Size: 100, Name: s}
	place, suffix, _ := strings.Cut(s, ".")
	if _, err := fmt.Sscanf(place, "%d/%d", &f.No, &f.Timeline); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	f.Partial = strings.HasSuffix(suffix, "partial")
	f.Modified = now.Add(-time.Duration(100-f.No) * time.Hour)
	return f
}

func segments(t *testing.T, names string) []retention.Segment {
	var files []retention.File
	for s := range strings.FieldsSeq(names) {
		files = append(files, file(t, s))
	}
	rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	return retention.Segments(files)
}

func text(list []retention.Segment) string {
	var out []string
	for _, s := range list {
		for _, f := range s.Files {
			out = append(out, f.Name)
		}
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	const two = "41/1 42/1 42/1.zst 43/1.partial 43/2 44/2 45/2 46/2.partial" // 800 bytes
	age := func(no int) time.Duration { return time.Duration(100-no) * time.Hour }
	for _, c := range []struct {
		there  string
		rules  retention.Rules
		needed wal.SegNo
		remove string
		held   retention.Reason
	}{
		{two, retention.Rules{}, 46, "", retention.NoRule},
		{two, retention.Rules{Size: 800}, 46, "", retention.BySize},
		{two, retention.Rules{Size: 799}, 46, "41/1", retention.BySize},
		{two, retention.Rules{Size: 699}, 46, "41/1 42/1 42/1.zst", retention.BySize},
		{two, retention.Rules{Size: 400}, 46, "41/1 42/1 42/1.zst 43/1.partial", retention.BySize},
		{two, retention.Rules{Size: 1}, 44, "41/1 42/1 42/1.zst 43/1.partial 43/2", retention.Needed},
		{two, retention.Rules{Size: 1}, 0, "", retention.Needed},
		{two, retention.Rules{Size: 1}, 99, two, retention.NoReason},
		{"", retention.Rules{Size: 1}, 99, "", retention.NoReason},
		{two, retention.Rules{Age: age(42)}, 46, "41/1", retention.ByAge},
		{two, retention.Rules{Age: age(43) - 1}, 46, "41/1 42/1 42/1.zst 43/1.partial 43/2", retention.ByAge},
		{two, retention.Rules{Backup: true, Since: 43}, 46, "41/1 42/1 42/1.zst", retention.ByBackup},
		{two, retention.Rules{Backup: true}, 46, "", retention.ByBackup},
		{two, retention.Rules{Backup: true, Since: 99}, 43, "41/1 42/1 42/1.zst", retention.Needed},
		// Each of several rules must allow it.
		{two, retention.Rules{Backup: true, Since: 45, Size: 600}, 46, "41/1 42/1 42/1.zst", retention.BySize},
		{two, retention.Rules{Backup: true, Since: 42, Size: 1}, 46, "41/1", retention.ByBackup},
		{two, retention.Rules{Age: age(42), Size: 1}, 46, "41/1", retention.ByAge},
	} {
		d := retention.Decide(segments(t, c.there), c.rules, c.needed, now)
		if text(d.Remove) != c.remove || d.Held != c.held {
			t.Errorf("%+v, needed %d: removes %q, held by %q; want %q, %q", c.rules, c.needed, text(d.Remove), d.Held, c.remove, c.held)
		}
		if want := int64(100 * len(strings.Fields(c.remove))); d.Removed != want || d.Kept != int64(100*len(strings.Fields(c.there)))-want {
			t.Errorf("%+v: %d bytes removed, %d kept", c.rules, d.Removed, d.Kept)
		}
	}
}

// TestOutOfOrder: files that were changed in another order than the WAL's make no
// hole.
func TestOutOfOrder(t *testing.T) {
	list := segments(t, "41/1 42/1 43/1")
	list[0].Modified = now
	if d := retention.Decide(list, retention.Rules{Age: time.Hour}, 50, now); len(d.Remove) != 0 || d.Held != retention.ByAge {
		t.Errorf("%+v", d)
	}
}

// TestDecideAtRandom: whatever lies there and whatever is asked for, what is
// removed is allowed by every rule and below what is needed, no timeline gets a
// hole that it had not, also where the removal ends in the middle, and what is
// kept first is held by a rule or a need.
func TestDecideAtRandom(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var files []retention.File
		for tli := 1 + rng.IntN(4); tli > 0; tli-- {
			from := 1 + rng.IntN(20)
			for no := from; no < from+rng.IntN(30); no++ {
				f := retention.File{Timeline: wal.TimelineID(tli), No: wal.SegNo(no), Size: rng.Int64N(1000),
					Modified: now.Add(-time.Duration(rng.IntN(1000)) * time.Minute), Partial: rng.IntN(10) == 0}
				for range 1 + rng.IntN(2) {
					f.Name = fmt.Sprint(no, "/", tli, ".", len(files))
					files = append(files, f)
				}
			}
		}
		list := retention.Segments(files)
		var r retention.Rules
		if rng.IntN(2) == 0 {
			r.Size = rng.Int64N(20_000)
		}
		if rng.IntN(2) == 0 {
			r.Age = time.Duration(rng.IntN(900)) * time.Minute
		}
		if rng.IntN(2) == 0 {
			r.Backup, r.Since = true, wal.SegNo(rng.IntN(50))
		}
		needed := wal.SegNo(rng.IntN(50))
		if err := check(list, r, needed, retention.Decide(list, r, needed, now)); err != nil {
			t.Fatalf("seed %d: %+v, needed %d: %v", seed, r, needed, err)
		}
	}
}

func check(list []retention.Segment, r retention.Rules, needed wal.SegNo, d retention.Decision) error {
	if text(list) != strings.TrimSpace(text(d.Remove)+" "+text(d.Keep)) {
		return errors.New("what is removed is not the beginning")
	}
	total := int64(0)
	for _, s := range list {
		total += s.Size
	}
	if d.Removed+d.Kept != total {
		return fmt.Errorf("%d bytes removed and %d kept, of %d", d.Removed, d.Kept, total)
	}
	allowed := func(s retention.Segment, total int64) bool {
		return (r.Size > 0 || r.Age > 0 || r.Backup) && s.No < needed && (r.Size <= 0 || total > r.Size) &&
			(r.Age <= 0 || s.Modified.Before(now.Add(-r.Age))) && (!r.Backup || s.No < r.Since)
	}
	for i, s := range d.Remove {
		if !allowed(s, total) {
			return fmt.Errorf("segment %d/%d must stay", s.No, s.Timeline)
		}
		total -= s.Size
		// What is left of each timeline is its end.
		for _, later := range d.Remove[i+1:] {
			if later.Timeline == s.Timeline && later.No <= s.No {
				return fmt.Errorf("segment %d/%d goes before %d", s.No, s.Timeline, later.No)
			}
		}
		if slices.ContainsFunc(d.Keep, func(k retention.Segment) bool { return k.Timeline == s.Timeline && k.No <= s.No }) {
			return fmt.Errorf("a hole behind what is kept before %d/%d", s.No, s.Timeline)
		}
	}
	if len(d.Keep) > 0 && (allowed(d.Keep[0], total) || d.Held == retention.NoReason) {
		return fmt.Errorf("segment %d/%d may go, and is held by %q", d.Keep[0].No, d.Keep[0].Timeline, d.Held)
	}
	return nil
}

func TestNeededFrom(t *testing.T) {
	at := func(n float64) wal.LSN { return wal.LSN(n * float64(size)) }
	h, err := wal.ParseHistory(4, []byte("1\t"+at(10.5).String()+"\tx\n2\t"+at(20).String()+"\ty\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tli  wal.TimelineID
		lsn  wal.LSN
		want wal.SegNo
		ok   bool
	}{
		{4, at(30.5), 30, true},
		{4, at(30), 30, true},
		{4, at(3.5), 3, true},
		{4, 0, 0, false},
		{1, at(5.5), 5, true},
		{1, at(11.5), 10, true}, // it goes back to the switch point
		{2, at(25), 19, true},   // and to a record that ends there
		{3, at(5), 0, false},    // of another branch
		{5, at(40), 0, false},   // this archive is behind
	} {
		no, ok := retention.NeededFrom(size, wal.Position{Timeline: c.tli, LSN: c.lsn}, h)
		if no != c.want || ok != c.ok {
			t.Errorf("%d, %s: %d, %v; want %d, %v", c.tli, c.lsn, no, ok, c.want, c.ok)
		}
	}
}

func TestNewest(t *testing.T) {
	for _, c := range []struct {
		there string
		tli   wal.TimelineID
		spans string // segments that a record takes whole
		want  wal.SegNo
	}{
		{"", 1, "", 0},
		{"41/1.partial", 1, "", 41},
		{"41/1 42/1 43/1.partial", 1, "", 42},
		{"41/1 42/1", 1, "", 42},
		{"40/1 41/1 42/1 43/1.partial", 1, "41/1 42/1", 40},
		{"40/1 41/1 42/1 43/1.partial", 1, "40/1 41/1 42/1", 40}, // its beginning is not kept
		{"39/1 41/1 42/1 43/1.partial", 1, "41/1 42/1", 41},      // nor here, for a hole
		{"41/1 42/1 43/1.partial 43/2.partial", 2, "", 42},
		{"41/1 42/1 50/1 43/2.partial", 2, "", 43},
		{"41/1 42/1 43/1.partial 43/2 44/2.partial", 2, "43/2", 43},
		{"41/1 42/1 43/1.partial 43/2 44/2 60/9", 2, "", 44},
		{"41/1 42/1 30/1.partial", 1, "", 42},
	} {
		no, err := retention.Newest(segments(t, c.there), c.tli, func(s *retention.Segment) (bool, error) {
			return slices.Contains(strings.Fields(c.spans), fmt.Sprintf("%d/%d", s.No, s.Timeline)), nil
		})
		if err != nil || no != c.want {
			t.Errorf("%s of timeline %d, with a record over %q: %d, %v; want %d", c.there, c.tli, c.spans, no, err, c.want)
		}
	}
	bad := errors.New("bad")
	if _, err := retention.Newest(segments(t, "41/1"), 1, func(*retention.Segment) (bool, error) { return false, bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
}

// TestSpans: 128 pages have 1 MiB less one long header and 127 short ones.
func TestSpans(t *testing.T) {
	const room = 1<<20 - 40 - 127*24
	for _, c := range []struct {
		info uint16
		rem  uint32
		want bool
	}{{3, room, false}, {3, room + 1, true}, {2, room + 1, false}, {2, 0, false}, {3, 1 << 30, true}} {
		if got := retention.Spans(size, c.info, c.rem); got != c.want {
			t.Errorf("info %d, rem_len %d: %v", c.info, c.rem, got)
		}
	}
}

func TestSince(t *testing.T) {
	const a, b, c = "000000010000000000000005.00000028.backup", "000000010000000000000009.00000028.backup", "000000020000000000000007.000FFF28.backup"
	var known []retention.Backup
	for _, name := range []string{a, c, b} {
		backup, ok := retention.ParseBackupName(size, name)
		if !ok {
			t.Fatal(name)
		}
		known = append(known, backup)
	}
	if want := (retention.Backup{Name: c, Timeline: 2, Start: 0x7FFF28}); known[1] != want {
		t.Errorf("%+v", known[1])
	}
	labels := map[string]string{a: "nightly", b: "nightly", c: "weekly"}
	for want, no := range map[string]wal.SegNo{
		"newest:1": 7, // of the highest timeline, though another begins later
		"newest:2": 7, "newest:3": 5, "nightly": 5, "weekly": 7, b: 9,
		"00000003000000000000000A.00000028.backup": 10, // by its name alone
		"newest:4": 0, "newest:0": 0, "newest:x": 0, "newest:": 0, "night": 0, "": 0,
	} {
		got, err := retention.Since(size, want, known, func(b *retention.Backup) (string, error) { return labels[b.Name], nil })
		if got != no || (err == nil) != (no != 0) {
			t.Errorf("%q: %d, %v; want %d", want, got, err, no)
		}
	}
	bad := errors.New("bad")
	if _, err := retention.Since(size, "nightly", known, func(*retention.Backup) (string, error) { return "", bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	for want, ok := range map[string]bool{"newest:1": true, "x": true, "newest:-1": false} {
		if err := retention.CheckBackup(want); (err == nil) != ok {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestParseBackupName(t *testing.T) {
	for _, name := range []string{"", "000000010000000000000005", "000000010000000000000005.backup", "000000010000000000000005.00000028.backup.gz",
		"000000010000000000000005.00100000.backup", "000000010000000000000005.0000002G.backup", "000000000000000000000005.00000028.backup",
		"0000000100000000000F0005.00000028.backup", "000000010000000000000005.28.backup"} {
		if b, ok := retention.ParseBackupName(size, name); ok {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

func TestLabel(t *testing.T) {
	for text, want := range map[string]string{
		"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nLABEL: my label\nSTART TIMELINE: 1\n": "my label",
		"LABEL: x": "x", "LABEL: x \r\n": "x ", "": "", "XLABEL: y\n": "",
	} {
		if got := retention.Label([]byte(text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestParseAge(t *testing.T) {
	for text, want := range map[string]time.Duration{"7d": 7 * 24 * time.Hour, "36h": 36 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second,
		"": 0, "0": 0, "0d": 0, "d": 0, "-1d": 0, "7": 0, "1d-2h": 0, "9999999d": 0, "1w": 0} {
		got, err := retention.ParseAge(text)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}
