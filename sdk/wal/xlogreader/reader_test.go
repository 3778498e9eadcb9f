package xlogreader_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// seen is a record as a consumer sees it, fragments put together.
type seen struct {
	start, end, prev wal.LSN
	header           string // every other field that Decode fills
	data             []byte
}

func note(rec *wal.Record) seen {
	return seen{
		start: rec.StartLSN, end: rec.EndLSN, prev: rec.PrevLSN,
		header: fmt.Sprintf("%v rmgr %d info %02X xid %d top %d origin %d len %d crc %08X main %d+%d %v", rec.Version, rec.RmgrID, rec.Info,
			rec.XID, rec.TopLevelXID, rec.Origin, rec.TotalLen, rec.CRC, rec.MainDataOffset, rec.MainDataLen, rec.Blocks),
		data: bytes.Clone(rec.Data),
	}
}

// result is all that came out of a Reader.
type result struct {
	records   []seen
	fragments int    // handed over
	dropped   []seen // fragments of records that were never completed
	status    xlogreader.Status
	err       error
}

// read feeds data to r, each time as many bytes as split says, and collects the
// records. It checks what holds after any call.
func read(t testing.TB, r *xlogreader.Reader, data []byte, split func(left int) int) (res result) {
	t.Helper()
	var rec wal.Record
	var open *seen
	piece := make([]byte, 0, len(data))
	for {
		res.status, res.err = r.Next(&rec)
		switch {
		case res.err != nil:
			return res
		case res.status == xlogreader.EndOfWAL, res.status == xlogreader.NeedMore && len(data) == 0:
			if res.status == xlogreader.NeedMore && r.RecordsEnd() > r.Fed() {
				t.Fatalf("RecordsEnd %s > Fed %s", r.RecordsEnd(), r.Fed())
			}
			return res
		case res.status == xlogreader.NeedMore:
			n := split(len(data))
			// The next copy spoils the last: nothing of it may have been kept.
			clear(piece[:min(len(piece), 100)])
			piece = append(piece[:0], data[:n]...)
			r.Feed(piece)
			data = data[n:]
			continue
		}
		if off := r.DataOffset(); off >= 0 && &piece[off] != &rec.Data[0] {
			t.Fatalf("record at %s: DataOffset %d is not where Data lies", rec.StartLSN, off)
		}
		if rec.EndLSN > r.Fed() {
			t.Fatalf("record at %s ends at %s, behind what was fed, %s", rec.StartLSN, rec.EndLSN, r.Fed())
		}
		res.add(t, &rec, &open)
	}
}

// add takes a record or puts its fragments together.
func (res *result) add(t testing.TB, rec *wal.Record, open **seen) {
	t.Helper()
	if res.status == xlogreader.Record {
		if !rec.Whole() {
			t.Fatalf("record at %s is not whole", rec.StartLSN)
		}
		res.drop(open)
		res.records = append(res.records, note(rec))
		return
	}
	res.fragments++
	if rec.FragmentOffset == 0 {
		res.drop(open)
		s := note(rec)
		*open = &s
	} else {
		s := note(rec)
		if *open == nil || s.start != (*open).start || s.header != (*open).header || int(rec.FragmentOffset) != len((*open).data) {
			t.Fatalf("fragment at offset %d of the record at %s does not follow", rec.FragmentOffset, rec.StartLSN)
		}
		(*open).data = append((*open).data, rec.Data...)
		(*open).end = rec.EndLSN
	}
	if rec.Last() != (rec.EndLSN != 0) {
		t.Fatalf("fragment at offset %d of the record at %s: last %v, end %s", rec.FragmentOffset, rec.StartLSN, rec.Last(), rec.EndLSN)
	}
	if rec.Last() {
		res.records = append(res.records, **open)
		*open = nil
	}
}

func (res *result) drop(open **seen) {
	if *open != nil {
		res.dropped = append(res.dropped, **open)
		*open = nil
	}
}

func all(left int) int { return left }

func options(w *waltest.Writer) xlogreader.Options {
	o := w.Options()
	return xlogreader.Options{SystemID: o.SystemID, SegmentSize: o.SegmentSize}
}

// compare reports how records differ from those that w wrote, from the first
// that starts at or after from.
func compare(t testing.TB, w *waltest.Writer, from wal.LSN, got []seen) {
	t.Helper()
	want := w.Records()
	var prev wal.LSN
	for len(want) > 0 && want[0].Start < from {
		prev, want = want[0].Start, want[1:]
	}
	if len(got) != len(want) {
		t.Errorf("%d records were read, %d written", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i].start != want[i].Start || got[i].end != want[i].End || got[i].prev != prev || !bytes.Equal(got[i].data, want[i].Raw) {
			t.Fatalf("record %d: read %s to %s prev %s, %d bytes; written %s to %s prev %s, %d bytes",
				i, got[i].start, got[i].end, got[i].prev, len(got[i].data), want[i].Start, want[i].End, prev, len(want[i].Raw))
		}
		prev = want[i].Start
	}
}

// Any split of the bytes gives the same records, and those that were written.
func TestChunkingInvariance(t *testing.T) {
	for _, version := range []wal.Version{wal.PG14, wal.PG15, wal.PG16, wal.PG17, wal.PG18} {
		for seed := range uint64(3) {
			w := waltest.Random(seed, waltest.Options{Version: version}, 2<<20)
			o := options(w)
			o.MaxWhole = []int{0, xlogreader.MinMaxWhole, 100_000}[seed%3]
			whole := read(t, xlogreader.New(w.Options().Start, o), w.Bytes(), all)
			if whole.err != nil {
				t.Fatalf("%v seed %d: %v", version, seed, whole.err)
			}
			compare(t, w, 0, whole.records)
			for name, split := range splits(seed) {
				r := xlogreader.New(w.Options().Start, o)
				res := read(t, r, w.Bytes(), split)
				if res.err != nil || res.status != whole.status || res.fragments != whole.fragments {
					t.Fatalf("%v seed %d, %s: %v, %v, %d fragments (%d in one piece)", version, seed, name, res.status, res.err, res.fragments, whole.fragments)
				}
				if !slices.EqualFunc(res.records, whole.records, equal) {
					t.Fatalf("%v seed %d: fed %s gives other records", version, seed, name)
				}
				if r.Fed() != w.End() || r.RecordsEnd() != w.End() || r.Version() != version || r.SystemID() != o.SystemID {
					t.Errorf("%v seed %d, %s: fed %s, records end %s, %v, %d", version, seed, name, r.Fed(), r.RecordsEnd(), r.Version(), r.SystemID())
				}
			}
		}
	}
}

func equal(a, b seen) bool {
	return a.start == b.start && a.end == b.end && a.prev == b.prev && a.header == b.header && bytes.Equal(a.data, b.data)
}

// splits are ways to cut up a stream.
func splits(seed uint64) map[string]func(left int) int {
	rnd := rand.New(rand.NewPCG(seed, 1))
	fixed := func(n int) func(int) int { return func(left int) int { return min(n, left) } }
	return map[string]func(int) int{
		"1 byte at a time":      fixed(1),
		"7 bytes at a time":     fixed(7),
		"a page at a time":      fixed(wal.PageSize),
		"128 KiB at a time":     fixed(128 << 10),
		"by random small steps": func(left int) int { return min(1+rnd.IntN(100), left) },
		"by random steps":       func(left int) int { return min(rnd.IntN(20_000), left) },
	}
}

// Reading can begin at any page; a record begun before is skipped.
func TestEveryStart(t *testing.T) {
	w := waltest.Random(3, waltest.Options{}, 4<<20)
	o := w.Options()
	skipped := 0
	for start := o.Start; start < w.End(); start += wal.PageSize {
		i, _ := slices.BinarySearchFunc(w.Records(), start, func(a waltest.Appended, lsn wal.LSN) int {
			if a.End <= lsn {
				return -1
			}
			return 1
		})
		// Record i is the first that ends behind start.
		inside := i < len(w.Records()) && w.Records()[i].Start < start
		if inside && w.Records()[i].End-w.Records()[i].Start > 4*wal.PageSize && len(w.Records()[i].Raw) == wal.RecordHeaderSize {
			continue // in the padding behind a switch there are no pages
		}
		r := xlogreader.New(start, options(w))
		res := read(t, r, w.Bytes()[start-o.Start:], func(left int) int { return min(5000, left) })
		if res.err != nil {
			t.Fatalf("from %s: %v", start, res.err)
		}
		compare(t, w, start, res.records)
		want := wal.LSN(0)
		if inside && len(res.records) > 0 {
			skipped++
			want = res.records[0].start
		}
		if r.SkippedTo() != want {
			t.Errorf("from %s: SkippedTo %s, want %s", start, r.SkippedTo(), want)
		}
	}
	if skipped == 0 {
		t.Error("no start lay inside a record")
	}
}

func TestNoAllocationPerRecord(t *testing.T) {
	w := waltest.Random(5, waltest.Options{SegmentSize: wal.DefaultSegmentSize}, 8<<20)
	r := xlogreader.New(w.Options().Start, options(w))
	var rec wal.Record
	data := w.Bytes()
	next := func() {
		for {
			status, err := r.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if status != xlogreader.NeedMore {
				return
			}
			if len(data) == 0 {
				t.Fatal("the WAL is too short for this test")
			}
			n := min(100_000, len(data))
			r.Feed(data[:n])
			data = data[n:]
		}
	}
	for range 500 { // the buffers grow
		next()
	}
	if n := testing.AllocsPerRun(300, next); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// A record that lies in one piece in the bytes fed is handed over from there.
func TestDataOffset(t *testing.T) {
	w := waltest.Random(6, waltest.Options{}, 1<<20)
	r := xlogreader.New(w.Options().Start, options(w))
	r.Feed(w.Bytes())
	var rec wal.Record
	borrowed, assembled := 0, 0
	for _, a := range w.Records() {
		if status, err := r.Next(&rec); err != nil || status != xlogreader.Record {
			t.Fatal(status, err)
		}
		want := int(a.Start - w.Options().Start)
		if crosses := a.Start/wal.PageSize != (a.End-1)/wal.PageSize; crosses {
			want = -1
			assembled++
		} else {
			borrowed++
		}
		if r.DataOffset() != want {
			t.Errorf("record %s to %s: DataOffset %d, want %d", a.Start, a.End, r.DataOffset(), want)
		}
		if start, end := r.LastRecord(); start != a.Start || end != a.End {
			t.Errorf("record %s to %s: LastRecord %s to %s", a.Start, a.End, start, end)
		}
	}
	if borrowed == 0 || assembled == 0 {
		t.Errorf("%d records in one piece, %d in several", borrowed, assembled)
	}
	if status, err := r.Next(&rec); status != xlogreader.NeedMore || err != nil || r.DataOffset() != -1 {
		t.Errorf("at the end: %v, %v, DataOffset %d", status, err, r.DataOffset())
	}
	if r.Timeline() != 1 {
		t.Errorf("timeline %d", r.Timeline())
	}
}

// The end of WAL is final.
func TestEndOfWALIsFinal(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, end := w.LogicalMessage("m", 100)
	w.PadTo(end + 100)
	r := xlogreader.New(w.Options().Start, xlogreader.Options{SegmentSize: w.Options().SegmentSize, File: true})
	res := read(t, r, w.Bytes(), all)
	for range 2 {
		if res.status != xlogreader.EndOfWAL || res.err != nil || r.RecordsEnd() != end {
			t.Fatalf("%v, %v, records end %s", res.status, res.err, r.RecordsEnd())
		}
		r.Feed([]byte("more"))
		res.status, res.err = r.Next(new(wal.Record))
	}
	if r.SystemID() != waltest.DefaultSystemID {
		t.Errorf("system identifier %d", r.SystemID())
	}
}

// The server writes XLOG_OVERWRITE_CONTRECORD on such a page, but its reader does
// not insist on it.
func TestOverwriteByAnyRecord(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, start := w.Abandon(waltest.LogicalMessage("m", 9000), 5000)
	raw := w.Records()[0].Raw
	raw[16] = 0x20 // XLOG_NOOP
	binary.LittleEndian.PutUint32(raw[20:], waltest.Checksum(raw))
	w.Patch(start, raw)
	w.LogicalMessage("m", 100)
	res := read(t, xlogreader.New(w.Options().Start, options(w)), w.Bytes(), all)
	if res.err != nil {
		t.Fatal(res.err)
	}
	compare(t, w, 0, res.records)
}

func TestStatusString(t *testing.T) {
	for status, want := range map[xlogreader.Status]string{
		xlogreader.NeedMore: "need more", xlogreader.Record: "record", xlogreader.Fragment: "fragment",
		xlogreader.EndOfWAL: "end of WAL", 0: "status 0",
	} {
		if status.String() != want {
			t.Errorf("%d is %q, want %q", uint8(status), status, want)
		}
	}
}

// Every fragment says what the record's header says, whatever the caller did
// with the Record in between.
func TestFragmentsRepeatHeader(t *testing.T) {
	rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	w := waltest.New(waltest.Options{})
	start, end := w.Append(waltest.Record{Rmgr: wal.RmgrGeneric, XID: 700, TopLevelXID: 699, Origin: 3, Main: make([]byte, 300_000), Blocks: []waltest.Block{
		{ID: 0, Rel: rel, Block: 7, Image: waltest.HeapPage(100, 1), Apply: true, Flags: wal.BlockImageHole},
		{ID: 2, Rel: rel, Block: 8, Data: []byte("data")},
	}})
	o := options(w)
	o.MaxWhole = 100_000
	r := xlogreader.New(w.Options().Start, o)
	r.Feed(w.Bytes())
	var rec wal.Record
	fragments := 0
	for offset := 0; ; fragments++ {
		status, err := r.Next(&rec)
		if err != nil {
			t.Fatal(err)
		}
		if status == xlogreader.NeedMore {
			break
		}
		wantEnd := wal.LSN(0)
		if rec.Last() {
			wantEnd = end
		}
		if status != xlogreader.Fragment || rec.StartLSN != start || rec.EndLSN != wantEnd || int(rec.FragmentOffset) != offset || rec.Version != wal.PG15 ||
			rec.XID != 700 || rec.TopLevelXID != 699 || rec.Origin != 3 || rec.MainDataLen != 300_000 || len(rec.Blocks) != 2 ||
			rec.Blocks[0].Block != 7 || rec.Blocks[1].ID != 2 || rec.Blocks[1].Rel != rel || rec.Blocks[1].DataLen != 4 {
			t.Fatalf("fragment %d: %v %+v", fragments, status, rec)
		}
		offset += len(rec.Data)
		clear(rec.Blocks)
		rec = wal.Record{Blocks: rec.Blocks}
	}
	if want := (300_000 + xlogreader.FragmentSize - 1 + 8192) / xlogreader.FragmentSize; fragments != want {
		t.Errorf("%d fragments, want %d", fragments, want)
	}
}

// A length alone, however valid, does not make the buffer grow.
func TestBufferGrowsWithBytes(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("m", 900_000)
	r := xlogreader.New(w.Options().Start, options(w))
	for fed := 0; fed < len(w.Bytes()); fed += 1000 {
		r.Feed(w.Bytes()[fed:min(fed+1000, len(w.Bytes()))])
		if _, err := r.Next(new(wal.Record)); err != nil {
			t.Fatal(err)
		}
		if limit := max(xlogreader.MinMaxWhole, 2*(fed+1000)); r.BufferCap() > min(limit, xlogreader.DefaultMaxWhole) {
			t.Fatalf("a buffer of %d bytes after %d", r.BufferCap(), fed+1000)
		}
	}
}

// Bytes that could be the end of a split switch are not taken for one if a
// record follows.
func TestSkippedTailIsNoSwitch(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.FillToSegmentEnd(48)
	// 24 of header, 2 of main data header, 22 and 8 of main data: the last 8 lie
	// in the next segment, and begin like xl_info and xl_rmid of a switch.
	w.Append(waltest.Record{Rmgr: wal.RmgrXLOG, Info: 0x20, Main: append(make([]byte, 22), 0x40, 0, 0, 0, 1, 2, 3, 4)})
	start, end := w.LogicalMessage("m", 9)
	w.PadTo(end + 100)
	r := xlogreader.New(2*segment, options(w))
	res := read(t, r, w.Bytes()[segment:], all)
	mustReject(t, "zeros", res.err, end, fmt.Sprintf("invalid record length at %s: expected at least 24, got 0", end))
	if len(res.records) != 1 || r.SkippedTo() != start {
		t.Errorf("%d records, skipped to %s, want %s", len(res.records), r.SkippedTo(), start)
	}
}
