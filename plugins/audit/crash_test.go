package audit

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// hookFS asks a function before each operation that changes something; where it
// answers true the operation is left out and called a success.
type hookFS struct {
	durable.FS
	before func(op crashfs.Op, name string) (skip bool)
}

func (h *hookFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	if flag&os.O_CREATE != 0 {
		h.before(crashfs.OpOpen, filepath.Base(name))
	}
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &hookFile{File: f, name: filepath.Base(name), before: h.before}, nil
}

func (h *hookFS) Remove(name string) error {
	if h.before(crashfs.OpRemove, filepath.Base(name)) {
		return nil
	}
	return h.FS.Remove(name)
}

func (h *hookFS) SyncDir(name string) error {
	if h.before(crashfs.OpSyncDir, filepath.Base(name)) {
		return nil
	}
	return h.FS.SyncDir(name)
}

type hookFile struct {
	durable.File
	name   string
	before func(op crashfs.Op, name string) (skip bool)
}

func (f *hookFile) WriteAt(p []byte, off int64) (int, error) {
	if f.before(crashfs.OpWrite, f.name) {
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}

func (f *hookFile) Truncate(size int64) error {
	if f.before(crashfs.OpTruncate, f.name) {
		return nil
	}
	return f.File.Truncate(size)
}

func (f *hookFile) Sync() error {
	if f.before(crashfs.OpSync, f.name) {
		return nil
	}
	return f.File.Sync()
}

func (f *hookFile) SyncData() error {
	if f.before(crashfs.OpSync, f.name) {
		return nil
	}
	return f.File.SyncData()
}

// simulation is a seeded life of a trail: writes, flushes, rotations, and deaths
// at any operation of the file system, of the process or of the power.
type simulation struct {
	t    *testing.T
	rng  *rand.Rand
	w    *waltest.Writer
	fsys *crashfs.FS
	s    *sinktest.Session
	c    Config

	skip  func(op crashfs.Op, name string, opening bool) bool // a fault of the sink's, nil none
	fuse  int                                                 // operations until death, negative: none
	grave *crashfs.FS                                         // what death left
	open  bool                                                // the sink's Open has returned

	lines string    // of all the WAL
	ends  []lineEnd // of each record in lines

	acked  wal.LSN // what Flush and Open have answered and death must keep
	deaths int
}

func (m *simulation) before(op crashfs.Op, name string) bool {
	if m.fuse == 0 {
		m.grave = m.die()
	}
	m.fuse--
	return m.skip != nil && m.skip(op, name, !m.open)
}

func (m *simulation) die() *crashfs.FS {
	switch m.rng.IntN(3) {
	case 0:
		return m.fsys.Kill()
	case 1:
		m.fsys.Writeback(m.rng, m.rng.Float64())
	}
	return m.fsys.Crash(m.rng)
}

// lineEnd says how many bytes of lines the records up to lsn make.
type lineEnd struct {
	lsn   wal.LSN
	bytes int
}

// upTo are the lines of the records that end at or before lsn.
func (m *simulation) upTo(lsn wal.LSN) string {
	n := 0
	for _, e := range m.ends {
		if e.lsn > lsn {
			break
		}
		n = e.bytes
	}
	return m.lines[:n]
}

// life is one session, from Open to a death or an orderly end. It answers an
// error for what must not be.
func (m *simulation) life() error {
	m.fuse, m.grave, m.open = m.rng.IntN(26)-2, nil, false
	m.c.Rotate = minRotate << m.rng.IntN(2)
	var err error
	m.s, err = tryOpen(m.t, &hookFS{FS: m.fsys, before: m.before}, m.c, system(m.w), m.w)
	if m.grave != nil {
		return nil // whatever it answered, nobody heard it
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	m.open = true
	at := m.s.Result().Position.LSN
	if at < m.acked {
		return fmt.Errorf("%s was flushed, and %s was found", m.acked, at)
	}
	m.acked = at
	if lines, _ := trailLines(m.t, m.fsys); lines != m.upTo(at) {
		return fmt.Errorf("opened at %s: %s", at, diff(lines, m.upTo(at)))
	}
	for m.grave == nil && m.s.Next() < m.w.End() {
		to := min(m.s.Next()+wal.LSN(m.rng.IntN(16000)), m.w.End())
		if err := m.s.Deliver(m.t.Context(), stretch(m.w, m.s.Next(), to)); err != nil {
			return fmt.Errorf("deliver to %s: %w", to, err)
		}
		if err := m.maybe(m.rng.IntN(6)); err != nil {
			return err
		}
	}
	if m.grave == nil {
		return m.maybe(0)
	}
	return nil
}

// maybe does what may come between two writes.
func (m *simulation) maybe(what int) error {
	switch {
	case m.grave != nil:
	case what < 3:
		lsn, err := m.s.Flush(m.t.Context())
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if m.grave == nil {
			m.acked = lsn
		}
	case what == 3:
		m.fsys.Writeback(m.rng, m.rng.Float64())
	}
	return nil
}

// run lives until the trail holds all of the WAL, and checks it. The error is
// what went wrong.
func (m *simulation) run() error {
	for {
		if err := m.life(); err != nil {
			return err
		}
		if m.grave == nil && m.acked == m.w.End() {
			break
		}
		if m.grave == nil {
			m.grave = m.die()
		}
		m.fsys = m.grave
		m.deaths++
	}
	m.fsys = m.fsys.CrashKeeping(m.rng, 0)
	lines, _ := trailLines(m.t, m.fsys)
	if d := diff(lines, m.lines); d != "" {
		return fmt.Errorf("at the end: %s", d)
	}
	r, err := Verify(m.t.Context(), m.fsys, testDir, VerifyOptions{})
	if err != nil {
		return err
	}
	if r.Problem != nil || r.Records != int64(len(m.w.Records())) {
		return fmt.Errorf("verify finds %d records of %d, %v", r.Records, len(m.w.Records()), r.Problem)
	}
	return nil
}

func simulate(t *testing.T, seed uint64, skip func(op crashfs.Op, name string, opening bool) bool) (*simulation, error) {
	w := transactions(1000)
	if seed%2 == 0 {
		w = waltest.Random(seed, waltest.Options{}, 300<<10)
	}
	m := &simulation{t: t, rng: seeded(seed), w: w, fsys: crashfs.New(), c: testConfig(), skip: skip}
	enc := newEncoder()
	var lines []byte
	for _, a := range w.Records() {
		lines = enc.appendLine(lines, 1, decodeAppended(t, w.Options().Version, a))
		m.ends = append(m.ends, lineEnd{a.End, len(lines)})
	}
	m.lines = string(lines)
	return m, m.run()
}

const seeds = 100

func TestCrashes(t *testing.T) {
	deaths := 0
	for seed := range uint64(seeds) {
		m, err := simulate(t, seed, nil)
		if err != nil {
			t.Fatalf("seed %d, after %d deaths: %v", seed, m.deaths, err)
		}
		deaths += m.deaths
	}
	if deaths < seeds {
		t.Errorf("%d deaths in %d lives: the simulation tries nothing", deaths, seeds)
	}
}

// TestCrashesFindFaults leaves out, one by one, what the sink does for
// durability: the simulation must notice each.
func TestCrashesFindFaults(t *testing.T) {
	lines := func(name string) bool { return strings.HasSuffix(name, fileSuffix) }
	for _, c := range []struct {
		name string
		skip func(op crashfs.Op, name string, opening bool) bool
	}{
		{"lines are not synced before the position", func(op crashfs.Op, name string, _ bool) bool { return op == crashfs.OpSync && lines(name) }},
		{"the position is not synced", func(op crashfs.Op, name string, opening bool) bool {
			return op == crashfs.OpSync && name == positionName && !opening
		}},
		{"the names are not synced", func(op crashfs.Op, name string, opening bool) bool {
			return op == crashfs.OpSyncDir && name == filepath.Base(testDir) && !opening
		}},
		{"the position is answered before it is durable", func(op crashfs.Op, name string, opening bool) bool {
			return op == crashfs.OpSync && name == positionName && opening
		}},
		{"the file is not cut", func(op crashfs.Op, _ string, opening bool) bool { return op == crashfs.OpTruncate }},
		{"the cut is not synced", func(op crashfs.Op, name string, opening bool) bool {
			return op == crashfs.OpSync && lines(name) && opening
		}},
		{"later files are not removed", func(op crashfs.Op, _ string, opening bool) bool { return op == crashfs.OpRemove }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				if m, err := simulate(t, seed, c.skip); err != nil {
					t.Logf("seed %d, %d deaths: %.200q", seed, m.deaths, err.Error())
					return
				}
			}
			t.Errorf("%d seeds find nothing", seeds)
		})
	}
}
