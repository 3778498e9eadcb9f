package pages

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// newPage is an initialised page with so much special space.
func newPage(special int) []byte {
	p := make([]byte, wal.BlockSize)
	le.PutUint16(p[atLower:], headerSize)
	le.PutUint16(p[atUpper:], uint16(wal.BlockSize-special))
	le.PutUint16(p[atSpecial:], uint16(wal.BlockSize-special))
	le.PutUint16(p[18:], wal.BlockSize|4)
	return p
}

// add puts a tuple on a page.
func add(p, tuple []byte) {
	lower, upper := int(le.Uint16(p[atLower:])), int(le.Uint16(p[atUpper:]))
	upper -= (len(tuple) + 7) &^ 7
	copy(p[upper:], tuple)
	le.PutUint32(p[lower:], uint32(upper)|itemNormal<<15|uint32(len(tuple))<<17)
	le.PutUint16(p[atLower:], uint16(lower+itemSize))
	le.PutUint16(p[atUpper:], uint16(upper))
}

// heapTuple is a tuple with such a t_xmax and t_infomask.
func heapTuple(xmax uint32, infomask uint16, data string) []byte {
	t := make([]byte, tupleHeader, tupleHeader+len(data))
	le.PutUint32(t, 700)
	le.PutUint32(t[4:], xmax)
	le.PutUint16(t[16:], 1)
	le.PutUint16(t[18:], 2)
	le.PutUint16(t[20:], infomask)
	t[22] = tupleHeader
	return append(t, data...)
}

func with(p []byte, at int, b ...byte) []byte {
	copy(p[at:], b)
	return p
}

func TestKindOf(t *testing.T) {
	end := wal.BlockSize
	tests := []struct {
		page  []byte
		fork  wal.ForkNumber
		block wal.BlockNumber
		want  Kind
	}{
		{make([]byte, end), wal.MainFork, 0, Empty},
		{newPage(0), wal.MainFork, 0, Heap},
		{newPage(0), wal.VisibilityMapFork, 0, VisibilityMap},
		{newPage(0), wal.FSMFork, 0, FreeSpaceMap},
		{with(newPage(8), end-8, 0x17, 0x17), wal.MainFork, 0, Sequence},
		{with(newPage(8), end-8, 0x17, 0x17), wal.MainFork, 0x1716, Gin}, // page 0x1717 is to its right
		{with(newPage(8), end-2, 8), wal.MainFork, 0, Gin},
		{with(newPage(8), end-2, 0x82, 0xFF), wal.MainFork, 0, SPGist},
		{with(newPage(8), end-2, 0x93, 0xF0), wal.MainFork, 3, BRIN},
		{with(newPage(8), end-2, 0x83, 0xFF), wal.MainFork, 0, Other}, // bloom
		{newPage(16), wal.MainFork, 5, Btree},
		{with(newPage(16), end-2, 0x80, 0xFF), wal.MainFork, 0, Hash},
		{with(newPage(16), end-2, 0x81, 0xFF), wal.MainFork, 0, Gist},
		{newPage(24), wal.MainFork, 0, Other},
		{with(newPage(0), atSpecial, 1, 0), wal.MainFork, 0, Other},
		{with(newPage(0), atSpecial, 1, 0x21), wal.MainFork, 0, Other},
	}
	for i, tt := range tests {
		if got := KindOf(tt.page, tt.fork, tt.block); got != tt.want {
			t.Errorf("page %d: %s, want %s", i, got, tt.want)
		}
	}
}

// sequence is the page of a sequence.
func sequence(last, left int64, called byte) []byte {
	p := with(newPage(8), wal.BlockSize-8, 0x17, 0x17)
	data := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(last)), uint64(left))
	add(p, heapTuple(0, 0x0900, string(append(data, called))))
	return p
}

func TestComparePage(t *testing.T) {
	hinted := newPage(0)
	add(hinted, heapTuple(0, 0x0900, "abc"))
	plain := newPage(0)
	add(plain, heapTuple(0, 0x0800, "abc"))
	other := newPage(0)
	add(other, heapTuple(0, 0x0800, "abd"))
	logged := newPage(0)
	le.PutUint32(logged[4:], 77)
	meta := func(fill byte) []byte {
		p := with(newPage(8), wal.BlockSize-8, 1)
		copy(p[wal.BlockSize-2:], []byte{0x82, 0xFF})
		copy(p[headerSize:], bytes.Repeat([]byte{fill}, 68)[4:])
		le.PutUint16(p[atLower:], headerSize+68)
		copy(p[headerSize:], []byte{0xEE, 0xAB, 0x0B, 0xBA})
		copy(p[headerSize+4:], bytes.Repeat([]byte{fill}, 64))
		return p
	}
	tests := []struct {
		name         string
		ours, theirs []byte
		says         string
	}{
		{"hint bits", plain, hinted, ""},
		{"a byte of data", other, plain, "1 byte differ, from byte 8186 on (byte 26 of tuple 1)"},
		{"never logged", make([]byte, wal.BlockSize), newPage(16), ""},
		{"empty, and logged", make([]byte, wal.BlockSize), logged, "differ"},
		{"lost", make([]byte, wal.BlockSize), plain, "differ, from byte 12 on (pd_lower)"},
		{"sequence behind by what was logged", sequence(33, 0, 1), sequence(5, 28, 1), ""},
		{"sequence that counts down", sequence(-100, 0, 1), sequence(-16, 28, 1), ""},
		{"sequence in step", sequence(5, 0, 1), sequence(5, 0, 1), ""},
		{"sequence that is ahead of its WAL", sequence(5, 0, 1), sequence(6, 0, 1), "1 byte differ"},
		{"sequence at the same with values left", sequence(5, 0, 1), sequence(5, 3, 1), "1 byte differ"},
		{"sequence that was not called", sequence(33, 0, 0), sequence(5, 28, 1), "1 byte differ"},
		{"what SP-GiST used last", meta(1), meta(2), ""},
	}
	for _, tt := range tests {
		if _, got := comparePage(bytes.Clone(tt.ours), bytes.Clone(tt.theirs), wal.MainFork, 0); (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.says)
		}
	}
	lost := newPage(0)
	if !neverLogged(lost, wal.MainFork) || neverLogged(logged, wal.MainFork) || neverLogged(plain, wal.MainFork) {
		t.Error("what was never logged is not told from what was")
	}
	// Of a visibility map every byte counts.
	if _, got := comparePage(with(newPage(0), 500, 1), with(newPage(0), 500, 3), wal.VisibilityMapFork, 0); got == "" {
		t.Error("a bit of a visibility map is not compared")
	}
}

func TestDiff(t *testing.T) {
	x, y := newPage(0), newPage(0)
	add(x, heapTuple(0, 0x0900, "first"))
	add(x, heapTuple(0, 0x0800, "second"))
	add(x, heapTuple(0, 0x0800, "third"))
	add(x, heapTuple(0, 0x0800, "fourth"))
	add(y, heapTuple(0, 0x0900, "first"))
	add(y, heapTuple(745, 0x0000, "sekond"))
	add(y, heapTuple(0, 0x2802, "third"))
	add(y, heapTuple(0, 0x0800, "fourth"))
	add(y, heapTuple(0, 0x0800, "fifth"))
	le.PutUint32(y[headerSize+3*itemSize:], itemDead<<15) // the fourth
	le.PutUint32(y[4:], 0x2000)
	var b strings.Builder
	diffPages(&b, x, y, wal.MainFork, 7)
	for _, text := range []string{
		"pd_lsn               0/0 → 0/2000\n", "pd_lower             40 → 44\n",
		"line pointer 2: normal, 30 bytes at 8128\n", "  t_xmax               0 → 745\n", "  t_infomask           XMAX_INVALID → 0\n", "  data byte 2: 63 → 6b\n",
		"line pointer 3: normal", "XMAX_INVALID → HASVARWIDTH|XMAX_INVALID|UPDATED\n",
		"line pointer 4: normal, 30 bytes at 8064 → dead, 0 bytes at 0\n", "line pointer 5: none → normal, 29 bytes at 8032\n", "  + t_infomask         XMAX_INVALID\n",
	} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("does not say %q:\n%s", text, b.String())
		}
	}
	if strings.Contains(b.String(), "line pointer 1") {
		t.Errorf("tells of what did not change:\n%s", b.String())
	}
	b.Reset()
	diffPages(&b, newPage(0), with(newPage(0), headerSize+2, 0x0C), wal.VisibilityMapFork, 1)
	if want := fmt.Sprintf("heap block %d: not all visible → all visible and frozen\n", (wal.BlockSize-headerSize)*4+9); b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	b.Reset()
	diffPages(&b, newPage(16), with(newPage(16), wal.BlockSize-4, 1, 0, 0, 0), wal.MainFork, 1)
	if want := "special space\n  byte 12: 00 → 01\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestDescribe(t *testing.T) {
	p := newPage(0)
	add(p, heapTuple(745, 0x2302, "first"))
	le.PutUint16(p[atFlags:], 0x0005)
	var b strings.Builder
	if err := Describe(&b, p, wal.MainFork, 7, 0x16B374D848); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"block 7, fork main, heap page, as of 16/B374D848\n", "pd_flags             HAS_FREE_LINES|ALL_VISIBLE\n",
		"     1  normal, 29 bytes at 8160\n", "t_xmax       745\n", "t_infomask   XMIN_FROZEN|HASVARWIDTH|UPDATED\n", "t_ctid       (0,1)\n", "data         6669727374\n",
	} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("does not say %q:\n%s", text, b.String())
		}
	}
	// No page makes it fail or panic.
	for seed := range uint64(200) {
		q := bytes.Clone(p)
		for i := range q {
			if (uint64(i)*2654435761+seed*40503)%7 == 0 {
				q[i] ^= byte(uint64(i) * (seed + 1))
			}
		}
		var out strings.Builder
		if err := Describe(&out, q, wal.MainFork, 0, 1); err != nil {
			t.Fatal(err)
		}
		diffPages(&out, p, q, wal.MainFork, 0)
		comparePage(bytes.Clone(p), q, wal.MainFork, 0)
	}
	if err := Describe(&b, p[:100], wal.MainFork, 0, 1); err == nil {
		t.Error("a part of a page is described")
	}
}

// TestReadControl reads what is not pg_control.
func TestReadControl(t *testing.T) {
	good := make([]byte, 8192)
	le.PutUint64(good, 7)
	le.PutUint32(good[atVersion:], 1300)
	le.PutUint32(good[atState:], uint32(shutDown))
	le.PutUint32(good[atBlockSize:], wal.BlockSize)
	sum := func(b []byte, at int) []byte {
		le.PutUint32(b[at:], crc32.Checksum(b[:at], crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
	sum(good, 288)
	changed := func(at int, v uint32, crcAt int) []byte {
		b := bytes.Clone(good)
		le.PutUint32(b[at:], v)
		if crcAt > 0 {
			sum(b, crcAt)
		}
		return b
	}
	tests := []struct {
		name    string
		control []byte
		version string
		says    string // "" for none
	}{
		{"good", good, "15\n", ""},
		{"18", changed(atVersion, 1800, 292), "18\n", ""},
		{"18 with the sum of 17", changed(atVersion, 1800, 288), "18\n", "its checksum is"},
		{"a byte is another", changed(atState, 6, 0), "15\n", "is damaged: its checksum is"},
		{"too short", good[:200], "15\n", "has 200 bytes"},
		{"another version", changed(atVersion, 1201, 288), "12\n", "has version 1201"},
		{"another size of pages", changed(atBlockSize, 32768, 288), "15\n", "pages have 32768 bytes"},
		{"a version that is none", good, "x", "PG_VERSION"},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "global"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"global/pg_control": tt.control, "PG_VERSION": []byte(tt.version)} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := ReadControl(dir)
		switch {
		case tt.says == "" && (err != nil || c.SystemID != 7 || c.State != shutDown):
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
		}
	}
	if _, err := ReadControl(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is no data directory") {
		t.Errorf("without a file: %v", err)
	}
}

// TestClear takes entries out of SLRU pages: no other than those.
func TestClear(t *testing.T) {
	tests := []struct {
		name    string
		clear   func([]byte, uint32)
		entry   uint32
		perPage uint32
		at, n   int // bytes that are cleared
		mask    byte
	}{
		{"xact", clearXact, 5, xactsPerPage, 1, 1, 0xF3},
		{"offset", clearOffset, 2047, offsetsPerPage, 8188, 4, 0},
		{"commit", clearCommit, 818, commitsPerPage, 8180, 10, 0},
	}
	for _, tt := range tests {
		p := bytes.Repeat([]byte{0xFF}, wal.BlockSize)
		tt.clear(p, tt.entry)
		for i, b := range p {
			want := byte(0xFF)
			if i >= tt.at && i < tt.at+tt.n {
				want = tt.mask
			}
			if b != want {
				t.Errorf("%s: byte %d is %02x, want %02x", tt.name, i, b, want)
			}
		}
		tt.clear(p, tt.perPage-1)
	}
	p := bytes.Repeat([]byte{0xFF}, wal.BlockSize)
	clearMember(p, 5) // the second of the second group
	if p[20] != 0xFF || p[21] != 0 || p[22] != 0xFF || le.Uint32(p[24:]) != 0xFFFFFFFF || le.Uint32(p[28:]) != 0 || le.Uint32(p[32:]) != 0xFFFFFFFF {
		t.Errorf("member: %x", p[16:40])
	}
	if membersPerPage != 1636 {
		t.Errorf("%d members a page", membersPerPage)
	}
}

func TestFirstDifferences(t *testing.T) {
	f := found{kinds: map[string]*Count{}, left: map[string]int{}}
	for i := range 100 {
		f.differ(Difference{File: "f", Block: uint32(99 - i), Kind: "heap"}, 1)
	}
	r := f.report()
	if r.Different != 100 || len(r.Differences) != MaxDifferences || r.Differences[0].Block != 0 || r.Differences[MaxDifferences-1].Block != MaxDifferences-1 {
		t.Errorf("%d differ, the first ones %v", r.Different, r.Differences)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "and 80 more pages\n") || strings.Count(b.String(), "DIFFERS") != MaxDifferences {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func BenchmarkChecksum(b *testing.B) {
	p := waltest.HeapPage(4000, 1)
	b.SetBytes(wal.BlockSize)
	for b.Loop() {
		redo.SetChecksum(p, 7)
	}
}
