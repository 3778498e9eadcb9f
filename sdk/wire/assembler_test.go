package wire_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

func newReader(w *waltest.Writer) *xlogreader.Reader {
	o := w.Options()
	return xlogreader.New(o.Start, xlogreader.Options{SystemID: o.SystemID, SegmentSize: o.SegmentSize, Timeline: o.Timeline, MaxWhole: wire.MaxWhole})
}

// blocks assembles the WAL, given in pieces of the sizes that next answers, and
// seals a block when it is full or idle says that the source is.
func blocks(t testing.TB, w *waltest.Writer, next func() int, idle func() bool) [][]byte {
	t.Helper()
	a := wire.NewAssembler(newReader(w), w.Options().Timeline, w.Options().Start)
	var buf []byte // used again and again, as a pool does
	var out [][]byte
	seal := func() {
		if a.Empty() {
			return
		}
		buf = a.Seal()
		out = append(out, bytes.Clone(buf))
	}
	for p := w.Bytes(); len(p) > 0; {
		if a.NeedsBuffer() {
			a.SetBuffer(buf)
		}
		n, err := a.Append(p[:min(next(), len(p))], int64(len(p)))
		if err != nil {
			t.Fatal(err)
		}
		p = p[n:]
		if a.Full() || idle() {
			seal()
		}
	}
	seal()
	return out
}

func whole() int  { return 1 << 30 }
func never() bool { return false }

// copyOf is the record with memory of its own.
func copyOf(r *wal.Record) wal.Record {
	c := *r
	c.Data = bytes.Clone(r.Data)
	c.Blocks = slices.Clone(r.Blocks)
	return c
}

// alone are the records and fragments that the reader gives without any block.
func alone(t testing.TB, w *waltest.Writer) []wal.Record {
	t.Helper()
	r := newReader(w)
	r.Feed(bytes.Clone(w.Bytes()))
	var out []wal.Record
	var rec wal.Record
	for {
		switch st, err := r.Next(&rec); {
		case err != nil:
			t.Fatal(err)
		case st == xlogreader.NeedMore:
			return out
		default:
			out = append(out, copyOf(&rec))
		}
	}
}

// same compares a record of a block with one of the reader's. nil and empty are
// one, and later fragments have no header in a block.
func same(got, want *wal.Record) bool {
	x, y := *got, *want
	if y.FragmentOffset > 0 {
		y.PrevLSN, y.CRC = 0, 0
	}
	data, refs := bytes.Equal(x.Data, y.Data), slices.Equal(x.Blocks, y.Blocks)
	x.Data, y.Data, x.Blocks, y.Blocks = nil, nil, nil, nil
	return data && refs && reflect.DeepEqual(x, y)
}

// check compares blocks with the WAL that they were made of.
func check(t *testing.T, w *waltest.Writer, list [][]byte, want []wal.Record) {
	t.Helper()
	at := w.Options().Start
	var raw []byte
	var rec wal.Record
	n := 0
	for i, b := range list {
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > wire.MaxBlock || len(v.WAL()) > wire.BlockWAL {
			t.Errorf("block %d has %d bytes, %d of them raw WAL", i, len(b), len(v.WAL()))
		}
		// Pages of much WAL lie at pages of the ring.
		if off := binary.LittleEndian.Uint32(b[48:]); len(v.WAL()) >= 64<<10 && (uint64(off)-uint64(v.WALStart()))%4096 != 0 || len(v.WAL()) < 64<<10 && off != 96 {
			t.Errorf("block %d: %d bytes of raw WAL from %s on lie at %d", i, len(v.WAL()), v.WALStart(), off)
		}
		if v.WALStart() != at || v.WALEnd() != at+wal.LSN(len(v.WAL())) || v.Timeline() != w.Options().Timeline {
			t.Fatalf("block %d has WAL from %s to %s of timeline %d, want it from %s on", i, v.WALStart(), v.WALEnd(), v.Timeline(), at)
		}
		only, err := wire.ParseBlock(bytes.Clone(v.WALOnly()), true)
		if err != nil || !bytes.Equal(only.WAL(), v.WAL()) || only.Len() != 0 {
			t.Fatalf("block %d for sinks of raw WAL: %v", i, err)
		}
		at = v.WALEnd()
		raw = append(raw, v.WAL()...)
		for k := range v.Len() {
			if err := v.Record(k, &rec); err != nil {
				t.Fatal(err)
			}
			if n == len(want) || !same(&rec, &want[n]) {
				rec.Data = nil
				t.Fatalf("block %d, entry %d, record %d differs: %+v", i, k, n, rec)
			}
			if start, end := v.RecordLSN(k); start != rec.StartLSN || end != rec.EndLSN {
				t.Fatalf("block %d, entry %d is the record from %s to %s, not to %s", i, k, start, rec.EndLSN, end)
			}
			n++
		}
		checkRecordsEnd(t, &v, w)
	}
	if !bytes.Equal(raw, w.Bytes()) {
		t.Error("the blocks' raw WAL is not what was appended")
	}
	if n != len(want) {
		t.Errorf("the blocks hold %d records, the WAL %d", n, len(want))
	}
}

// checkRecordsEnd checks that RecordsEnd is the start of the record that is
// incomplete at the WAL's end, else the WAL's end.
func checkRecordsEnd(t *testing.T, v *wire.View, w *waltest.Writer) {
	t.Helper()
	want := v.WALEnd()
	r := w.Records()
	next, _ := slices.BinarySearchFunc(r, want, func(r waltest.Appended, end wal.LSN) int { return cmp.Compare(r.End, end+1) })
	if next < len(r) && r[next].Start < want {
		want = r[next].Start
	}
	if got := v.RecordsEnd(); got != want {
		t.Fatalf("WAL to %s: records end at %s, want %s", v.WALEnd(), got, want)
	}
}

// Any split of the WAL gives blocks of the same WAL and the same records.
func TestAnySplit(t *testing.T) {
	versions := []wal.Version{wal.PG14, wal.PG15, wal.PG16, wal.PG17, wal.PG18}
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := waltest.Random(seed, waltest.Options{Version: versions[seed%5]}, 5<<20/2)
			want := alone(t, w)
			rng := rand.New(rand.NewPCG(seed, 0))
			check(t, w, blocks(t, w, whole, never), want)
			check(t, w, blocks(t, w, func() int { return 1 + rng.IntN(128<<10) }, func() bool { return rng.IntN(3) == 0 }), want)
			check(t, w, blocks(t, w, func() int { return 1 + rng.IntN(2*wal.PageSize) }, func() bool { return rng.IntN(40) == 0 }), want)
		})
	}
}

// Byte by byte, each a block of its own.
func TestBytesAlone(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 40<<10)
	check(t, w, blocks(t, w, func() int { return 1 }, never), alone(t, w))
	check(t, w, blocks(t, w, func() int { return 1 }, func() bool { return true }), alone(t, w))
}

// The greatest blocks that WAL can make stay below the limit.
// A small block is followed by one that ends where blocks of a source in a hurry
// do: so the next are large and begin with a page.
func TestLargeBlocksFindTheirPlaceAgain(t *testing.T) {
	w := waltest.Random(5, waltest.Options{}, 4*wire.BlockWAL)
	pieces := 0
	first := func() int { pieces++; return map[bool]int{true: 1000, false: 1 << 30}[pieces == 1] }
	list := blocks(t, w, first, func() bool { return pieces == 1 })
	if len(list) < 4 {
		t.Fatalf("%d blocks", len(list))
	}
	for i, b := range list[1 : len(list)-1] {
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		if v.WALEnd()%wire.BlockWAL != 0 || i > 0 && len(v.WAL()) != wire.BlockWAL {
			t.Errorf("block %d: WAL from %s to %s", i+1, v.WALStart(), v.WALEnd())
		}
	}
	check(t, w, list, alone(t, w))
}

func TestMaxBlock(t *testing.T) {
	const enough = 3 * wire.BlockWAL
	smallest := waltest.New(waltest.Options{})
	for len(smallest.Bytes()) < enough {
		smallest.AppendRaw(wal.RmgrXLOG, 0x20, 0, nil)
	}
	refs := waltest.New(waltest.Options{})
	for len(refs.Bytes()) < enough {
		rec := waltest.Record{Rmgr: wal.RmgrGeneric}
		for id := range wal.MaxBlockID + 1 {
			rec.Blocks = append(rec.Blocks, waltest.Block{ID: uint8(id), Rel: wal.RelFileLocator{Spc: 1, DB: 2, Rel: 3}, Flags: wal.BlockWillInit})
		}
		refs.Append(rec)
	}
	large := waltest.New(waltest.Options{})
	for range 5 {
		n := wire.MaxWhole - 24 - 5 - 24 - 2 // the message, its headers and prefix: exactly MaxWhole
		large.LogicalMessage("m", n)
		large.LogicalMessage("m", n-wal.PageSize)
	}
	if got := large.Records()[0].Raw; len(got) != wire.MaxWhole {
		t.Fatalf("the record has %d bytes", len(got))
	}
	for name, w := range map[string]*waltest.Writer{"smallest records": smallest, "most references": refs, "largest whole records": large} {
		list := blocks(t, w, whole, never)
		check(t, w, list, alone(t, w))
		most := 0
		for _, b := range list {
			most = max(most, len(b))
		}
		t.Logf("%s: the greatest block has %d of %d bytes", name, most, wire.MaxBlock)
	}
	for i, r := range alone(t, large) {
		if !r.Whole() {
			t.Errorf("record %d of %d bytes came as a fragment of %d", i, r.TotalLen, len(r.Data))
		}
	}
}

// What came before a fault in the WAL is handed over.
func TestFault(t *testing.T) {
	w := waltest.New(waltest.Options{})
	for range 100 {
		w.LogicalMessage("m", 1000)
	}
	good := w.Records()[49]
	w.Flip(good.End + 30)
	a := wire.NewAssembler(newReader(w), 1, w.Options().Start)
	a.SetBuffer(nil)
	n, err := a.Append(w.Bytes(), 0)
	var fault *wal.Error
	if !errors.As(err, &fault) || fault.LSN != good.End || n != len(w.Bytes()) {
		t.Fatalf("Append answers %d, %v", n, err)
	}
	v, err := wire.ParseBlock(a.Seal(), false)
	if err != nil || v.Len() != 50 || v.RecordsEnd() != good.End || v.WALEnd() != w.End() {
		t.Fatalf("the block has %d records to %s, WAL to %s, %v", v.Len(), v.RecordsEnd(), v.WALEnd(), err)
	}
	a.SetBuffer(nil)
	if _, again := a.Append([]byte{0}, 0); !errors.As(again, &fault) || fault.LSN != good.End {
		t.Errorf("after the fault: %v", again)
	}
}

func TestEndOfWAL(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("m", 100)
	end := w.End()
	w.PadSegment()
	o := w.Options()
	r := xlogreader.New(o.Start, xlogreader.Options{SegmentSize: o.SegmentSize, MaxWhole: wire.MaxWhole, File: true})
	a := wire.NewAssembler(r, 1, o.Start)
	a.SetBuffer(nil)
	if _, err := a.Append(w.Bytes(), 0); !errors.Is(err, wire.ErrEndOfWAL) {
		t.Fatal(err)
	}
	if v, err := wire.ParseBlock(a.Seal(), false); err != nil || v.Len() != 1 || v.RecordsEnd() != end {
		t.Errorf("%d records to %s, %v", v.Len(), v.RecordsEnd(), err)
	}
}

// A new sink begins at a record's start, another behind its position.
func TestFirstRecord(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("m", 10)
	w.LogicalMessage("large", 2*wire.MaxWhole) // in fragments
	w.LogicalMessage("m", 20)
	r := w.Records()
	var entries []wal.Record
	for _, b := range blocks(t, w, whole, never) {
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		for at := range v.Len() + 1 {
			// A sink at this entry's record gets its entries and all after them.
			var lsn wal.LSN
			if at < v.Len() {
				lsn, _ = v.RecordLSN(at)
			} else {
				lsn = w.End()
			}
			first := 0
			for first < v.Len() {
				if start, _ := v.RecordLSN(first); start >= lsn {
					break
				}
				first++
			}
			if got := v.FirstRecord(lsn, 0); got != first {
				t.Errorf("block %s: a sink at %s begins with entry %d, want %d", v.WALStart(), lsn, got, first)
			}
			if got := v.FirstRecord(lsn, lsn); got != first {
				t.Errorf("block %s: a new sink at %s begins with entry %d, want %d", v.WALStart(), lsn, got, first)
			}
			// Inside of a record: a new sink gets the next one.
			if got := v.FirstRecord(lsn-8, lsn-8); got != first {
				t.Errorf("block %s: a new sink at %s begins with entry %d, want %d", v.WALStart(), lsn-8, got, first)
			}
		}
		for k := range v.Len() {
			var rec wal.Record
			if err := v.Record(k, &rec); err != nil {
				t.Fatal(err)
			}
			entries = append(entries, copyOf(&rec))
		}
	}
	if len(entries) < len(r)+2 {
		t.Fatalf("%d entries for %d records: nothing came in fragments", len(entries), len(r))
	}
}

func TestParseBlockRefuses(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 20<<10)
	good := blocks(t, w, whole, never)[0]
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		reason string
	}{
		{"empty", func([]byte) []byte { return nil }, "0 bytes without its magic number"},
		{"short", func(b []byte) []byte { return b[:95] }, "95 bytes"},
		{"magic", func(b []byte) []byte { b[0]++; return b }, "without its magic number"},
		{"version", func(b []byte) []byte { b[4] = 2; return b }, "layout version 2, this side knows 1"},
		{"wal cut", func(b []byte) []byte { return b[:200] }, "its raw WAL of"},
		{"wal offset", func(b []byte) []byte { b[48] = 0; return b }, "its raw WAL of"},
		{"wal length", func(b []byte) []byte { b[52]++; return b }, "its raw WAL of"},
		{"wal end", func(b []byte) []byte { b[24]++; return b }, "its raw WAL of"},
		{"wal end before start", func(b []byte) []byte { clear(b[24:32]); return b }, "its raw WAL of"},
		{"index offset", func(b []byte) []byte { b[67] = 0xFF; return b }, "its index of"},
		{"index length", func(b []byte) []byte { b[71] = 0xFF; return b }, "its index of"},
		{"refs offset", func(b []byte) []byte { b[75] = 0xFF; return b }, "its index of"},
		{"refs cut", func(b []byte) []byte { return b[:len(b)-1] }, "its index of"},
	} {
		if _, err := wire.ParseBlock(c.change(bytes.Clone(good)), false); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
	}
	if _, err := wire.ParseBlock(good, false); err != nil {
		t.Error(err)
	}
}

func TestRecordRefuses(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 200<<10)
	good := blocks(t, w, whole, never)[0]
	const entry = 3
	for _, c := range []struct {
		at     int // in the entry
		value  byte
		reason string
	}{
		{11, 0xFF, "entry 3 points outside of it"},
		{15, 0xFF, "entry 3 points outside of it"},
		{31, 0xFF, "entry 3 points outside of it"},
		{32, wal.MaxBlockID + 2, "entry 3 has 34 block references"},
		{18, 0xFF, ""}, // a fragment of a larger record
		{16, 1, "of a record of 1, which no record has"},
		{23, 0xFF, "which no record has"},
	} {
		b := bytes.Clone(good)
		index := int(b[64]) | int(b[65])<<8 | int(b[66])<<16
		b[index+entry*48+c.at] = c.value
		if c.at == 16 {
			b[index+entry*48+17] = 0
		}
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		var rec wal.Record
		err = v.Record(entry, &rec)
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("byte %d is %d: %v, want %q", c.at, c.value, err, c.reason)
		}
		if err := v.Record(entry-1, &rec); err != nil {
			t.Errorf("the entry before: %v", err)
		}
	}
}

// Iterating a block allocates nothing.
func TestNoAllocation(t *testing.T) {
	w := waltest.Random(3, waltest.Options{}, wire.BlockWAL)
	b := blocks(t, w, whole, never)[0]
	var rec wal.Record
	n := 0
	iterate := func() {
		v, err := wire.ParseBlock(b, false)
		if err != nil {
			t.Fatal(err)
		}
		n = v.Len()
		for i := range n {
			if err := v.Record(i, &rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := testing.AllocsPerRun(10, iterate); got != 0 || n < 100 {
		t.Errorf("%v allocations for %d records", got, n)
	}
}

func benchmarkWAL(b *testing.B) *waltest.Writer {
	w := waltest.New(waltest.Options{SegmentSize: 16 << 20, Start: 16 << 20})
	for len(w.Bytes()) < 8<<20 {
		w.Append(waltest.HeapInsert(700, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}, 7, 3, make([]byte, 60)))
	}
	b.SetBytes(int64(len(w.Bytes())))
	return w
}

// Records of 128 bytes, in reads as the walsender sends them.
func BenchmarkAssembler(b *testing.B) {
	w := benchmarkWAL(b)
	var buf []byte
	for b.Loop() {
		a := wire.NewAssembler(newReader(w), 1, w.Options().Start)
		for p := w.Bytes(); len(p) > 0; {
			if a.NeedsBuffer() {
				a.SetBuffer(buf)
			}
			n, err := a.Append(p[:min(128<<10, len(p))], 0)
			if err != nil {
				b.Fatal(err)
			}
			if p = p[n:]; a.Full() || len(p) == 0 {
				buf = a.Seal()
			}
		}
	}
	b.ReportMetric(float64(len(w.Records())*b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkRecords(b *testing.B) {
	w := benchmarkWAL(b)
	list := blocks(b, w, whole, never)
	var rec wal.Record
	for b.Loop() {
		for _, block := range list {
			v, err := wire.ParseBlock(block, false)
			if err != nil {
				b.Fatal(err)
			}
			for i := range v.Len() {
				if err := v.Record(i, &rec); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(float64(len(w.Records())*b.N)/b.Elapsed().Seconds(), "records/s")
}

// Blocks for sinks of raw WAL alone hold more of it, and are refused by others.
func TestRawAssembler(t *testing.T) {
	w := waltest.Random(7, waltest.Options{}, 5*wire.BlockWAL)
	a := wire.NewRawAssembler(newReader(w), w.Options().Timeline, w.Options().Start)
	records, at := 0, w.Options().Start
	var raw []byte
	seal := func() {
		records += a.Records()
		b := a.Seal()
		v, err := wire.ParseBlock(b, true)
		if err != nil {
			t.Fatal(err)
		}
		if v.WALStart() != at || v.HasRecords() || len(v.WALOnly()) != len(b) || len(v.WAL()) > wire.RawBlockWAL {
			t.Errorf("a block of %d bytes with %d bytes of WAL from %s to %s; records %v", len(b), len(v.WAL()), v.WALStart(), v.WALEnd(), v.HasRecords())
		}
		raw, at = append(raw, v.WAL()...), v.WALEnd()
		if _, err := wire.ParseBlock(b, false); err == nil || !strings.Contains(err.Error(), "without records") {
			t.Errorf("read for its records: %v", err)
		}
	}
	for p := w.Bytes(); len(p) > 0; {
		if a.NeedsBuffer() {
			a.SetBuffer(nil)
		}
		n, err := a.Append(p, 0)
		if err != nil {
			t.Fatal(err)
		}
		if p = p[n:]; a.Full() {
			seal()
		}
	}
	if !a.Empty() {
		seal()
	}
	if want := len(alone(t, w)); !bytes.Equal(raw, w.Bytes()) || records != want {
		t.Errorf("%d of %d bytes, %d of %d records", len(raw), len(w.Bytes()), records, want)
	}
}

// What was put where it belongs is not copied, and is the same.
func TestAppendInPlace(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 3*wire.BlockWAL)
	a := wire.NewAssembler(newReader(w), w.Options().Timeline, w.Options().Start)
	var list [][]byte
	for p := w.Bytes(); len(p) > 0; {
		if a.NeedsBuffer() {
			a.SetBuffer(nil)
		}
		room := a.Room()
		n := copy(room[:min(len(room), 10_000)], p)
		if got, err := a.Append(room[:n], 0); err != nil || got != n {
			t.Fatal(got, err)
		}
		if p = p[n:]; a.Full() || len(p) == 0 {
			list = append(list, a.Seal())
		}
	}
	check(t, w, list, alone(t, w))
}
