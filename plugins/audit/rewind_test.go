package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// lineage is a cluster that is promoted again and again: element i is the WAL of
// timeline i+1, with what it shares with those before.
type lineage struct {
	wal      []*waltest.Writer
	switches []wal.LSN // at i, where timeline i+1 was left for i+2
}

// promoted makes a lineage of n timelines.
func promoted(rng *rand.Rand, n, size int) *lineage {
	w := waltest.Random(rng.Uint64(), waltest.Options{}, size)
	l := &lineage{wal: []*waltest.Writer{w}}
	begin := 1 // records shared with the timeline before
	for tli := wal.TimelineID(2); int(tli) <= n; tli++ {
		recs := w.Records()
		if rng.IntN(5) == 0 {
			begin = 1 // a recovery that stops before the switch point of its own target
		}
		// Often the end, where nothing is taken back.
		at := len(recs)
		if rng.IntN(4) > 0 {
			at = begin + rng.IntN(len(recs)-begin+1)
		}
		l.switches = append(l.switches, recs[at-1].End)
		w = w.Branch(tli, recs[at-1].End)
		w.AppendRandom(rng.Uint64(), size/n)
		l.wal = append(l.wal, w)
		begin = at
	}
	return l
}

// epoch is the switch from timeline old to tli, as the history file of tli has it.
func (l *lineage) epoch(old, tli wal.TimelineID) *sdk.Epoch {
	e := &sdk.Epoch{OldTimeline: old, NewTimeline: tli, HistoryFile: wal.HistoryFileName(tli), SwitchLSN: l.switches[tli-2]}
	for i, lsn := range l.switches[:tli-1] {
		e.History = fmt.Appendf(e.History, "%d\t%s\tno recovery target specified\n", i+1, lsn)
		if i+1 >= int(old) {
			e.SwitchLSN = min(e.SwitchLSN, lsn)
		}
	}
	return e
}

var timelineField = regexp.MustCompile(`"timeline":\d+`)

// surviving reads the trail as its documentation says: the lines that count, with
// a timeline that is the same for all, because a record that was written before a
// switch and one that was delivered after it differ in that alone.
func surviving(text string) (string, error) {
	var lines []string
	var ends []wal.LSN
	for line := range strings.Lines(text) {
		if s, ok, err := parseRewound([]byte(line)); ok {
			if err != nil {
				return "", err
			}
			for len(ends) > 0 && ends[len(ends)-1] > s.To {
				ends, lines = ends[:len(ends)-1], lines[:len(lines)-1]
			}
			continue
		}
		l, ok := scanLine([]byte(line))
		if !ok {
			return "", errors.New("a line is wrong: " + line)
		}
		lines, ends = append(lines, timelineField.ReplaceAllString(line, `"timeline":1`)), append(ends, l.end)
	}
	return strings.Join(lines, ""), nil
}

// history is what a trail that only ever saw w has up to lsn.
func history(t *testing.T, w *waltest.Writer, lsn wal.LSN) string {
	return timelineField.ReplaceAllString(wantLines(t, w, lsn), `"timeline":1`)
}

// promotions is a simulation over a lineage.
type promotions struct {
	simulation
	line *lineage
	tli  wal.TimelineID // of the server
	kept string         // lines that were durable at the last Open
}

func (m *promotions) server() *waltest.Writer { return m.line.wal[m.tli-1] }

// live is one session, with promotions before or in it.
func (m *promotions) live() error {
	if m.rng.IntN(4) == 0 && int(m.tli) < len(m.line.wal) {
		m.tli++
	}
	m.fuse, m.grave, m.open = m.rng.IntN(30)-2, nil, false
	m.c.Rotate = minRotate << m.rng.IntN(2)
	var err error
	w := m.server()
	m.s, err = tryOpen(m.t, &hookFS{FS: m.fsys, before: m.before}, m.c, system(w), w)
	if m.grave != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	at := m.s.Result().Position
	if err := m.opened(at); err != nil {
		return err
	}
	if !m.s.Result().New && at.Timeline < m.tli {
		if err := m.follow(at.Timeline); err != nil || m.grave != nil {
			return err
		}
	}
	for m.grave == nil && m.s.Next() < m.server().End() {
		to := min(m.s.Next()+wal.LSN(m.rng.IntN(30000)), m.server().End())
		if err := m.s.Deliver(m.t.Context(), stretch(m.server(), m.s.Next(), to)); err != nil {
			return fmt.Errorf("deliver to %s: %w", to, err)
		}
		if err := m.maybe(m.rng.IntN(6)); err != nil || m.grave != nil {
			return err
		}
		if m.rng.IntN(8) == 0 && int(m.tli) < len(m.line.wal) {
			old := m.tli
			m.tli++
			if err := m.follow(old); err != nil || m.grave != nil {
				return err
			}
		}
	}
	if m.grave == nil {
		return m.maybe(0)
	}
	return nil
}

// opened checks what Open has found.
func (m *promotions) opened(at wal.Position) error {
	text, _ := trailLines(m.t, m.fsys)
	if !strings.HasPrefix(text, m.kept) {
		return fmt.Errorf("opened at %s: lines that were durable are lost", at)
	}
	m.kept = text
	if at.LSN == 0 {
		if m.acked != 0 {
			return fmt.Errorf("%s was flushed, and nothing was found", m.acked)
		}
		return nil
	}
	least := m.acked
	for _, lsn := range m.line.switches[:at.Timeline-1] {
		least = min(least, lsn) // what it had acknowledged may be taken back
	}
	if at.LSN < least {
		return fmt.Errorf("%s was flushed, and %s was found", least, at)
	}
	m.acked = at.LSN
	got, err := surviving(text)
	if d := diff(got, history(m.t, m.line.wal[at.Timeline-1], at.LSN)); d != "" || err != nil {
		return fmt.Errorf("opened at %s: %s, %v", at, d, err)
	}
	return nil
}

// follow tells the sink of the switches from tli to the server's timeline, one by
// one, all at once, or again though it knows.
func (m *promotions) follow(tli wal.TimelineID) error {
	for tli < m.tli {
		old, next := tli, tli+1
		if m.rng.IntN(2) == 0 {
			next = m.tli
			old = tli + wal.TimelineID(m.rng.IntN(int(next-tli)))
		}
		e := m.line.epoch(old, next)
		for range 1 + m.rng.IntN(2) {
			lsn, err := m.s.Epoch(m.t.Context(), e)
			if m.grave != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("epoch %d to %d: %w", tli, next, err)
			}
			if lsn > e.SwitchLSN || lsn < min(m.acked, m.line.epoch(tli, next).SwitchLSN) {
				return fmt.Errorf("rewound to %s, with %s acknowledged and the switch at %s", lsn, m.acked, e.SwitchLSN)
			}
			m.acked = lsn
		}
		tli = next
	}
	return nil
}

func (m *promotions) run() error {
	for {
		if err := m.live(); err != nil {
			return err
		}
		if m.grave == nil && int(m.tli) == len(m.line.wal) && m.acked == m.server().End() {
			break
		}
		if m.grave == nil {
			m.grave = m.die()
		}
		m.fsys = m.grave
		m.deaths++
	}
	m.fsys = m.fsys.CrashKeeping(m.rng, 0)
	text, _ := trailLines(m.t, m.fsys)
	got, err := surviving(text)
	if d := diff(got, history(m.t, m.server(), m.server().End())); d != "" || err != nil {
		return fmt.Errorf("at the end: %s, %v", d, err)
	}
	r, err := Verify(m.t.Context(), m.fsys, testDir, VerifyOptions{})
	if err != nil {
		return err
	}
	if r.Problem != nil || r.Position != (wal.Position{Timeline: m.tli, LSN: m.server().End()}) || r.Last != m.server().End() {
		return fmt.Errorf("verify finds %+v, %v", r, r.Problem)
	}
	return nil
}

// TestPromotions lets a sink follow promotions at random places, and die in all
// that it does.
func TestPromotions(t *testing.T) {
	deaths, switches := 0, 0
	for seed := range uint64(seeds) {
		m := newPromotions(t, seed)
		if err := m.run(); err != nil {
			t.Fatalf("seed %d, after %d deaths, switches at %v: %v", seed, m.deaths, m.line.switches, err)
		}
		deaths += m.deaths
		switches += len(m.line.switches)
	}
	if deaths < seeds || switches < seeds {
		t.Errorf("%d deaths and %d switches: the simulation tries nothing", deaths, switches)
	}
}

func newPromotions(t *testing.T, seed uint64) *promotions {
	rng := seeded(seed)
	m := &promotions{line: promoted(rng, 1+rng.IntN(4), 200<<10), tli: 1}
	m.simulation = simulation{t: t, rng: rng, fsys: crashfs.New(), c: testConfig()}
	return m
}

// TestPromotionsFindFaults leaves out a sync: the simulation must notice.
func TestPromotionsFindFaults(t *testing.T) {
	for seed := range uint64(seeds) {
		m := newPromotions(t, seed)
		m.skip = func(op crashfs.Op, name string, _ bool) bool {
			return op == crashfs.OpSync && strings.HasSuffix(name, fileSuffix)
		}
		if err := m.run(); err != nil {
			t.Logf("seed %d, %d deaths: %.200q", seed, m.deaths, err.Error())
			return
		}
	}
	t.Errorf("%d seeds find nothing", seeds)
}

// TestRewind takes half of the records back, in each state of the trail.
func TestRewind(t *testing.T) {
	w := transactions(400)
	recs := w.Records()
	at := recs[399].End
	b := w.Branch(2, at)
	b.AppendRandom(1, 50<<10)
	e := &sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2}
	for _, c := range []struct {
		name   string
		level  string
		filter bool
		held   wal.LSN // written before the switch
		epoch  sdk.Epoch
		to     wal.LSN
	}{
		{"beyond the switch", LevelRecord, false, w.End(), *e, at},
		{"before the switch", LevelRecord, false, recs[100].End, *e, recs[100].End},
		{"at the switch", LevelRecord, false, at, *e, at},
		{"a switch in a record", LevelRecord, false, w.End(), sdk.Epoch{OldTimeline: 1, SwitchLSN: at + 8, NewTimeline: 2}, at},
		{"some records have no line", LevelTransaction, false, w.End(), *e, at},
		{"a filter", LevelRecord, true, w.End(), *e, at},
		{"a switch before the first line", LevelRecord, false, w.End(), sdk.Epoch{OldTimeline: 1, SwitchLSN: recs[0].Start, NewTimeline: 2}, recs[0].Start},
		{"nothing held", LevelRecord, false, 0, *e, at},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, config := crashfs.New(), testConfig()
			config.Rotate, config.Level = minRotate, c.level
			reopen := func(w *waltest.Writer) *sinktest.Session {
				s, err := sinktest.OpenSink(t.Context(), Definition(fsys), filtered{newSink(fsys, &config), c.filter}.rewinder(), system(w), sinktest.Options{Start: w.Options().Start})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := reopen(w)
			if c.held > 0 {
				deliver(t, s, w, c.held)
			}
			for range 2 {
				if lsn, err := s.Epoch(t.Context(), &c.epoch); err != nil || lsn != c.to {
					t.Fatalf("rewound to %s, %v", lsn, err)
				}
			}
			s.Kill()
			fsys = fsys.CrashKeeping(seeded(1), 0)
			s = reopen(b)
			if got := s.Result(); got.New || got.Position != (wal.Position{Timeline: 2, LSN: c.to}) {
				t.Fatalf("opened at %+v", got)
			}
			r := verify(t, fsys)
			if c.held == 0 {
				if r.Problem != nil || len(r.Switches) != 0 {
					t.Errorf("%+v, %v", r, r.Problem)
				}
				return
			}
			want := Switch{OldTimeline: 1, SwitchLSN: c.epoch.SwitchLSN, NewTimeline: 2, From: c.held, To: c.to}
			if r.Problem != nil || len(r.Switches) != 1 || r.Switches[0] != want {
				t.Errorf("%+v, %v", r, r.Problem)
			}
			if c.epoch.SwitchLSN != at || c.level != LevelRecord {
				return
			}
			deliver(t, s, b, b.End())
			flush(t, s)
			text, _ := trailLines(t, fsys)
			got, err := surviving(text)
			if d := diff(got, history(t, b, b.End())); d != "" || err != nil {
				t.Errorf("on the new timeline: %s, %v", d, err)
			}
			if lost := !strings.HasPrefix(text, wantLines(t, w, c.held)); lost || verify(t, fsys).Problem != nil {
				t.Errorf("lines are lost: %v; %v", lost, verify(t, fsys).Problem)
			}
		})
	}
}

// rewinder is the sink with a filter, as one that follows a switch.
func (f filtered) rewinder() sdk.Sink {
	return struct {
		filtered
		sdk.Rewinder
	}{f, f.Sink.(sdk.Rewinder)}
}

func TestRewindRefuses(t *testing.T) {
	w := transactions(100)
	b := w.Branch(3, w.Records()[50].End)
	b.AppendRandom(1, 1000)
	for _, c := range []struct {
		name string
		e    sdk.Epoch
	}{
		{"an older timeline", sdk.Epoch{OldTimeline: 3, SwitchLSN: w.End(), NewTimeline: 2}},
		{"a timeline of other ancestors", sdk.Epoch{OldTimeline: 4, SwitchLSN: w.End(), NewTimeline: 5, History: []byte("1\t0/3000000\tx\n4\t0/5000000\tx\n")}},
		{"no history", sdk.Epoch{OldTimeline: 4, SwitchLSN: w.End(), NewTimeline: 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys, testConfig(), b)
			deliver(t, s, b, b.End())
			flush(t, s)
			if _, err := s.Epoch(t.Context(), &c.e); !sdk.IsPermanent(err) {
				t.Errorf("%v", err)
			}
			if _, err := s.Flush(t.Context()); err == nil {
				t.Error("it goes on")
			}
			closeSession(t, s)
			if r := verify(t, fsys); r.Problem != nil || r.Position.LSN != b.End() || len(r.Switches) != 0 {
				t.Errorf("%+v, %v", r, r.Problem)
			}
		})
	}
}

// TestVerifySwitches damages a trail that has followed a promotion.
func TestVerifySwitches(t *testing.T) {
	w := transactions(400)
	at := w.Records()[399].End
	b := w.Branch(2, at)
	b.AppendRandom(1, 50<<10)
	for _, c := range []struct {
		name   string
		change func(first, second [][]byte) ([][]byte, [][]byte)
		text   string
	}{
		{"nothing", func(a, b [][]byte) ([][]byte, [][]byte) { return a, b }, ""},
		{"the rewound line is gone", func(a, b [][]byte) ([][]byte, [][]byte) { return a[:len(a)-1], b }, "the rewound line is missing"},
		{"a line after the switch is gone", func(a, b [][]byte) ([][]byte, [][]byte) {
			b[1] = fmt.Appendf(nil, "{\"note\":\"%s\"}\n", bytes.Repeat([]byte("x"), len(b[1])-12))
			return a, b
		}, "a record is missing"},
		{"the last line before the switch is gone", func(a, b [][]byte) ([][]byte, [][]byte) {
			return append(a[:400:400], a[401:]...), b
		}, "a record is missing"},
		{"a line behind the rewound line", func(a, b [][]byte) ([][]byte, [][]byte) { return append(a, a[401]), b }, "a rewound line before it says"},
		{"a rewound line of another timeline", func(a, b [][]byte) ([][]byte, [][]byte) {
			a[len(a)-1] = bytes.Replace(a[len(a)-1], []byte(`"old_timeline":1,`), []byte(`"old_timeline":0,`), 1)
			return a, b
		}, "no walplex writes that"},
		{"a rewound line that is none", func(a, b [][]byte) ([][]byte, [][]byte) {
			a[len(a)-1] = []byte(rewoundKey + "3}\n")
			return a, b
		}, "does not parse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys, testConfig(), w)
			deliver(t, s, w, w.End())
			if _, err := s.Epoch(t.Context(), &sdk.Epoch{OldTimeline: 1, SwitchLSN: at, NewTimeline: 2}); err != nil {
				t.Fatal(err)
			}
			deliver(t, s, b, b.End())
			flush(t, s)
			closeSession(t, s)
			_, names := trailLines(t, fsys)
			if len(names) != 2 {
				t.Fatalf("files %v", names)
			}
			var files [2][][]byte
			for i, name := range names {
				files[i] = bytes.SplitAfter(readFile(t, fsys, filepath.Join(testDir, name)), []byte("\n"))
				files[i] = files[i][:len(files[i])-1]
			}
			files[0], files[1] = c.change(files[0], files[1])
			for i, name := range names {
				writeFile(t, fsys, filepath.Join(testDir, name), bytes.Join(files[i], nil))
			}
			r := verify(t, fsys)
			if (r.Problem == nil) != (c.text == "") || c.text != "" && !strings.Contains(r.Problem.String(), c.text) {
				t.Errorf("%+v, %v", r, r.Problem)
			}
		})
	}
}

func TestRewoundLine(t *testing.T) {
	s := Switch{OldTimeline: 7, SwitchLSN: 0x1_0000_0028, NewTimeline: 9, From: 0x2_0000_0000, To: 0x1_0000_0020}
	line := appendRewound(nil, &s)
	if got, ok, err := parseRewound(line); !ok || err != nil || got != s {
		t.Errorf("%s reads as %+v, %v", line, got, err)
	}
	var names map[string]map[string]any
	if err := json.Unmarshal(line, &names); err != nil || len(names["rewound"]) != 5 {
		t.Errorf("%s: %v", line, err)
	}
}
