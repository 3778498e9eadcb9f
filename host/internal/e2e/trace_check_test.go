package e2e

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"

	"github.com/walplex/walplex/sdk/wal"
)

// evidence is what has to be known besides the trace: what the sinks have
// written, which is still there when all has ended.
type evidence struct {
	root   string  // holds archive, trail and pages
	first  wal.LSN // where the archive begins: the start of a segment
	lines  []trailLine
	states map[string][]pageState // by path of a log of the index
}

// trailLine is a record's line in the audit trail.
type trailLine struct {
	file string // name
	to   int64  // offset behind the line
	end  wal.LSN
}

// pageState is a state of the page cache, as its index's log holds it.
type pageState struct {
	to       int64 // offset in the index's log behind the commit that holds it
	position wal.LSN
	file     uint32 // of the log of values
	length   int64  // of that file
}

// told is a standby status that the server was sent.
type told struct {
	line                int
	write, flush, apply wal.LSN
}

// verdict is what a trace shows.
type verdict struct {
	told     []told
	syncs    map[string]int // successful ones, by path
	problems []string
}

// maxProblems bounds what is listed of a trace that goes wrong.
const maxProblems = 10

// checker goes through a trace and holds every status against what would have
// been left at that moment.
type checker struct {
	evidence
	*verdict
	disk    *disk
	sockets map[string]bool     // that lead to the server
	slots   map[int64]trailSlot // of position.json, by offset
	durable map[string]int      // by log of the index: how many states are durable
}

// trailSlot is what a slot of position.json says.
type trailSlot struct {
	LSN    wal.LSN `json:"lsn"`
	File   string  `json:"file"`
	Offset int64   `json:"offset"`
	size   int64   // of the slot
}

func checkTrace(steps []traceStep, ev evidence) *verdict {
	c := &checker{evidence: ev, verdict: &verdict{}, disk: newDisk(ev.root), sockets: map[string]bool{},
		slots: map[int64]trailSlot{}, durable: map[string]int{}}
	c.syncs = c.disk.syncs
	for _, s := range steps {
		if len(c.problems) >= maxProblems {
			break
		}
		// A status is judged, and a write that promises something, as it begins.
		err := errors.Join(c.disk.step(s), c.look(s))
		if err != nil {
			c.problems = append(c.problems, fmt.Sprintf("line %d: %v", s.line, err))
		}
	}
	return c.verdict
}

func (c *checker) look(s traceStep) error {
	if s.returns {
		return nil
	}
	switch s.name {
	case "connect":
		if _, addr, _ := strings.Cut(s.arg(1), "sun_path="); strings.Contains(unquote(addr), "/.s.PGSQL.") {
			c.sockets[s.fdPath(0)] = true
		}
	case "write", "pwrite64", "sendto":
		path := s.fdPath(0)
		switch {
		case c.sockets[path]:
			return c.sent(s)
		case path == c.path("trail/position.json"):
			return c.slotWritten(s)
		case filepath.Dir(path) == c.path("pages/index") && strings.HasSuffix(path, ".log"):
			return c.statesWritten(path, s.number(2))
		}
	case "writev", "sendmsg", "sendmmsg":
		if c.sockets[s.fdPath(0)] {
			return fmt.Errorf("%s to the server: a call that this test does not know", s.name)
		}
	}
	return nil
}

func (c *checker) path(name string) string { return filepath.Join(c.root, name) }

// sent finds the statuses in what is sent to the server: CopyData with 34 bytes.
func (c *checker) sent(s traceStep) error {
	text, whole := s.text(1)
	for b := []byte(text); len(b) > 0 && b[0] != 0; { // a start-up packet has no type
		if len(b) < 5 {
			return errors.New("a message to the server in pieces")
		}
		n := int64(binary.BigEndian.Uint32(b[1:])) + 1
		isCopy := b[0] == 'd'
		if int64(len(b)) < n {
			if isCopy || whole {
				return errors.New("a message to the server in pieces")
			}
			return nil
		}
		if isCopy {
			if n != 39 || b[5] != 'r' {
				return fmt.Errorf("CopyData to the server that is no status: %q", b[:n])
			}
			lsn := func(at int) wal.LSN { return wal.LSN(binary.BigEndian.Uint64(b[at:])) }
			st := told{line: s.line, write: lsn(6), flush: lsn(14), apply: lsn(22)}
			c.told = append(c.told, st)
			if err := c.judge(st); err != nil {
				return fmt.Errorf("a status confirms %s, but %w", st.flush, err)
			}
		}
		b = b[n:]
	}
	return nil
}

func (c *checker) judge(st told) error {
	switch {
	case st.flush == 0:
		return nil // says nothing
	case st.flush > st.write || st.apply > st.flush:
		return fmt.Errorf("write is %s and apply %s", st.write, st.apply)
	}
	return errors.Join(
		c.archiveHolds(st.flush),
		c.recordsHeld("trail", c.trailPosition(), st.flush),
		c.recordsHeld("pages", c.pagesPosition(), st.flush))
}

// archiveHolds: every segment that ends before lsn has its final name and all its
// bytes, the next one is there up to lsn.
func (c *checker) archiveHolds(lsn wal.LSN) error {
	for at := c.first; at < lsn; at = segment.End(at) {
		name := c.path("archive/" + segment.FileName(1, segment.SegNo(at)))
		if segment.End(at) > lsn {
			if c.disk.names[name+wal.PartialSuffix] == nil { // finished meanwhile
				return c.disk.holds(name, span{0, int64(lsn - at)})
			}
			return c.disk.holds(name+wal.PartialSuffix, span{0, int64(lsn - at)})
		}
		if err := c.disk.holds(name, span{0, int64(segment)}); err != nil {
			return err
		}
	}
	return nil
}

// recordsHeld: no record ends behind the sink's durable position and not behind
// lsn.
func (c *checker) recordsHeld(sink string, position, lsn wal.LSN) error {
	if i := c.recordsTo(position); i < len(c.lines) && c.lines[i].end <= lsn {
		return fmt.Errorf("the durable position of %s is %s: it lacks the record that ends at %s", sink, position, c.lines[i].end)
	}
	return nil
}

// recordsTo is the number of records that end at or before lsn.
func (c *checker) recordsTo(lsn wal.LSN) int {
	i, _ := slices.BinarySearchFunc(c.lines, lsn+1, func(l trailLine, lsn wal.LSN) int { return cmp.Compare(l.end, lsn) })
	return i
}

// slotWritten: a slot of position.json must tell of durable lines only, and of
// all the lines up to its LSN.
func (c *checker) slotWritten(s traceStep) error {
	text, _ := s.text(1)
	delete(c.slots, s.number(3))
	if text = strings.TrimSpace(text); text == "" {
		return nil // blank
	}
	var p trailSlot
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&p); err != nil {
		return fmt.Errorf("position.json: %q: %w", text, err)
	}
	p.size = s.number(2)
	c.slots[s.number(3)] = p
	if p.LSN == 0 {
		return nil
	}
	for path := range c.disk.names {
		if n := filepath.Base(path); strings.HasSuffix(n, ".jsonl") && n < p.File {
			if err := c.disk.holdsAll(path); err != nil {
				return fmt.Errorf("position.json is to say %s, but %w", p.LSN, err)
			}
		}
	}
	if p.File != "" {
		if err := c.disk.holds(c.path("trail/"+p.File), span{0, p.Offset}); err != nil {
			return fmt.Errorf("position.json is to say %s, but %w", p.LSN, err)
		}
	}
	lines, _ := slices.BinarySearchFunc(c.lines, p, func(l trailLine, p trailSlot) int {
		return cmp.Or(strings.Compare(l.file, p.File), cmp.Compare(l.to, p.Offset+1))
	})
	if n := c.recordsTo(p.LSN); n != lines {
		return fmt.Errorf("position.json is to say %s, behind %d records, but byte %d of %s, behind %d lines", p.LSN, n, p.Offset, p.File, lines)
	}
	return nil
}

// trailPosition is what the audit sink would answer after power loss.
func (c *checker) trailPosition() (lsn wal.LSN) {
	for at, p := range c.slots {
		if c.disk.holds(c.path("trail/position.json"), span{at, at + p.size}) == nil {
			lsn = max(lsn, p.LSN)
		}
	}
	return lsn
}

// statesWritten: a state that is being written to a log of the index must tell of
// durable values only. The log is written from its start to its end.
func (c *checker) statesWritten(path string, size int64) error {
	n := c.disk.names[path]
	if n == nil || len(n.file.unsynced) == 0 {
		return nil // the disk has complained
	}
	at := n.file.unsynced[len(n.file.unsynced)-1].from // the disk has just noted it
	for _, st := range c.states[path] {
		if st.to <= at || st.to > at+size || st.file == 0 {
			continue
		}
		values := func(n uint32) string { return c.path(fmt.Sprintf("pages/values/%010d", n)) }
		err := c.disk.holds(values(st.file), span{0, st.length})
		for f := st.file - 1; f > 0 && err == nil; f-- {
			err = c.disk.holdsAll(values(f))
		}
		if err != nil {
			return fmt.Errorf("the index is to say %s, but %w", st.position, err)
		}
	}
	return nil
}

// pagesPosition is what the page cache would answer after power loss: the last
// state in the logs of its index, of which none may lack anything before it.
func (c *checker) pagesPosition() (lsn wal.LSN) {
	logs := make([]string, 0, len(c.states))
	for path := range c.states {
		logs = append(logs, path)
	}
	slices.Sort(logs)
	for _, path := range logs {
		list, n := c.states[path], c.durable[path]
		for n < len(list) && c.disk.holds(path, span{0, list[n].to}) == nil {
			n++
		}
		c.durable[path] = n
		if n > 0 {
			lsn = max(lsn, list[n-1].position)
		}
		if n < len(list) {
			break
		}
	}
	return lsn
}

// gatherEvidence reads from the directories what the sinks have written in the end.
func gatherEvidence(t *testing.T, root string, first wal.LSN, steps []traceStep) evidence {
	t.Helper()
	ev := evidence{root: root, first: first, states: map[string][]pageState{}}
	files, err := filepath.Glob(filepath.Join(root, "trail", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(0)
		for line := range bytes.Lines(b) {
			at += int64(len(line))
			var r struct {
				Start wal.LSN `json:"start_lsn"`
				End   wal.LSN `json:"end_lsn"`
			}
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			if r.End != 0 { // not a header
				ev.lines = append(ev.lines, trailLine{filepath.Base(f), at, r.End})
			}
		}
	}
	// The trace knows which logs there were: one that is gone must not be missed.
	for _, s := range steps {
		path := s.fdPath(0)
		if s.name == "write" && filepath.Dir(path) == filepath.Join(root, "pages/index") && strings.HasSuffix(path, ".log") && ev.states[path] == nil {
			if ev.states[path], err = readStates(path); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
	}
	return ev
}

// readStates reads the states that a log of the page cache's index holds; see
// package pagestore for their layout.
func readStates(path string) ([]pageState, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
	if err != nil {
		return nil, err
	}
	states := []pageState{}
	r := newLogReader(record.NewReader, bytes.NewReader(b), number)
	for {
		rec, err := r.Next()
		if err != nil { // the end, which a log does not mark
			return states, nil
		}
		batch, err := io.ReadAll(rec)
		if err != nil {
			return nil, err
		}
		ops := batchrepr.Read(batch)
		for {
			_, key, value, ok, err := ops.Next()
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if string(key) == "s" && len(value) == 88 {
				le := binary.LittleEndian
				states = append(states, pageState{to: r.Offset(), position: wal.LSN(le.Uint64(value[24:])),
					file: le.Uint32(value[48:]), length: int64(le.Uint64(value[56:]))})
			}
		}
	}
}

// newLogReader is record.NewReader for a number whose type cannot be named here.
func newLogReader[N ~uint64](open func(io.Reader, N) *record.Reader, r io.Reader, number uint64) *record.Reader {
	return open(r, N(number))
}
