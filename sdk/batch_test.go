package sdk

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

type none struct{}

func defined(o ...Option) *Definition {
	return Define("test", func(*none) Sink { return nil }, o...)
}

// cut assembles the WAL from the Writer's start to its end, with a block's end at
// each of these LSNs and wherever a block is full.
func cut(t testing.TB, w *waltest.Writer, ends ...wal.LSN) [][]byte {
	t.Helper()
	o := w.Options()
	r := xlogreader.New(o.Start, xlogreader.Options{SystemID: o.SystemID, SegmentSize: o.SegmentSize, MaxWhole: wire.MaxWhole})
	a := wire.NewAssembler(r, o.Timeline, o.Start)
	var out [][]byte
	at := o.Start
	for _, end := range append(ends, w.End()) {
		for at < end {
			if a.NeedsBuffer() {
				a.SetBuffer(nil)
			}
			n, err := a.Append(w.Bytes()[at-o.Start:end-o.Start], 42)
			if err != nil {
				t.Fatal(err)
			}
			at += wal.LSN(n)
			if a.Full() || at == end {
				out = append(out, a.Seal())
			}
		}
	}
	return out
}

// got is a record that a sink was handed, without the memory that is borrowed.
type got struct {
	start, end wal.LSN
	rmgr       wal.RmgrID
	size       int // bytes of Data
	at         uint32
	whole      bool
}

func next(t testing.TB, b *Batcher, block []byte, walFrom wal.LSN, recordFrom int) *Batch {
	t.Helper()
	batch, err := b.Next(block, walFrom, recordFrom)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func records(t testing.TB, b *Batcher, batch *Batch) (out []got) {
	t.Helper()
	for r := range batch.Records() {
		out = append(out, got{r.StartLSN, r.EndLSN, r.RmgrID, len(r.Data), r.FragmentOffset, r.Whole()})
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// messages is WAL of n small records.
func messages(n int) *waltest.Writer {
	w := waltest.New(waltest.Options{})
	for i := range n {
		if i%2 == 0 {
			w.LogicalMessage("m", 100)
		} else {
			w.Append(waltest.Commit(700, time.Unix(1700000000, 0)))
		}
	}
	return w
}

func TestBatchOfRawWAL(t *testing.T) {
	w := messages(20)
	r := w.Records()
	middle := r[10].Start + 20 // inside a record
	list := cut(t, w, middle)
	start := w.Options().Start
	position := r[3].Start + 5 // any byte
	b := NewBatcher(defined(RawWAL()), position)

	batch := next(t, b, list[0][:], position, 0)
	if batch.From() != position || batch.To() != middle || batch.WALStart() != position || batch.WALEnd() != middle {
		t.Errorf("from %s to %s, WAL from %s to %s", batch.From(), batch.To(), batch.WALStart(), batch.WALEnd())
	}
	if !bytes.Equal(batch.WAL(), w.Bytes()[position-start:middle-start]) {
		t.Error("the first batch's WAL differs")
	}
	if batch.Timeline() != 1 || batch.Version() != wal.PG15 || !batch.ServerTime().Equal(wal.TimestampTime(42)) {
		t.Errorf("timeline %d, %s, %s", batch.Timeline(), batch.Version(), batch.ServerTime())
	}
	for range batch.Records() {
		t.Error("a sink of raw WAL got a record")
	}

	// The host sends a sink of raw WAL no more than that of a block.
	v, err := wire.ParseBlock(list[1], false)
	if err != nil {
		t.Fatal(err)
	}
	batch = next(t, b, v.WALOnly(), 0, 0)
	if batch.From() != middle || batch.To() != w.End() || !bytes.Equal(batch.WAL(), w.Bytes()[middle-start:]) {
		t.Errorf("from %s to %s", batch.From(), batch.To())
	}
}

func TestBatchOfRecords(t *testing.T) {
	w := messages(20)
	r := w.Records()
	middle := r[10].Start + 20
	list := cut(t, w, middle)
	v, err := wire.ParseBlock(list[0], false)
	if err != nil {
		t.Fatal(err)
	}
	position := r[3].End
	b := NewBatcher(defined(Records()), position)

	batch := next(t, b, list[0], 0, v.FirstRecord(position, 0))
	if batch.From() != position || batch.To() != r[10].Start || batch.WALEnd() != middle || batch.WAL() != nil {
		t.Errorf("from %s to %s of %s", batch.From(), batch.To(), batch.WALEnd())
	}
	first := records(t, b, batch)
	if len(first) != 6 || first[0].start != r[4].Start || first[5].end != r[9].End {
		t.Errorf("the first batch has the records %v", first)
	}
	batch = next(t, b, list[1], 0, 0)
	if batch.From() != r[10].Start || batch.To() != w.End() {
		t.Errorf("from %s to %s", batch.From(), batch.To())
	}
	second := records(t, b, batch)
	if len(second) != 10 || second[0].start != r[10].Start || second[0].end != r[10].End || !second[0].whole {
		t.Errorf("the second batch has the records %v", second)
	}
	if again := records(t, b, batch); len(again) != 10 {
		t.Errorf("iterated again, it has %d", len(again))
	}
	for range batch.Records() {
		break // what follows is not looked at, and nothing is wrong
	}
	if b.Err() != nil {
		t.Error(b.Err())
	}
}

// A sink's position never goes back: not where a new one begins inside a record,
// nor where a block ends in the record that the last one ended in.
func TestToNeverGoesBack(t *testing.T) {
	w := messages(4)
	r := w.Records()
	list := cut(t, w, r[2].Start+8, r[2].Start+16)
	b := NewBatcher(defined(Records()), r[2].Start+4)
	var last wal.LSN
	for i, block := range list {
		v, err := wire.ParseBlock(block, false)
		if err != nil {
			t.Fatal(err)
		}
		batch := next(t, b, block, 0, v.FirstRecord(r[2].Start+4, r[2].Start+4))
		if batch.From() < last || batch.To() < batch.From() {
			t.Errorf("block %d: from %s to %s, after %s", i, batch.From(), batch.To(), last)
		}
		last = batch.To()
	}
	if last != w.End() {
		t.Errorf("ends at %s, want %s", last, w.End())
	}
}

func TestRmgrs(t *testing.T) {
	w := messages(20)
	b := NewBatcher(defined(Records(wal.RmgrTransaction, wal.RmgrHeap)), w.Options().Start)
	batch := next(t, b, cut(t, w)[0], 0, 0)
	list := records(t, b, batch)
	if len(list) != 10 || batch.To() != w.End() {
		t.Errorf("%d records to %s", len(list), batch.To())
	}
	for _, r := range list {
		if r.rmgr != wal.RmgrTransaction {
			t.Errorf("a record of %s", r.rmgr)
		}
	}
}

// Records above 1 MiB come in fragments, and are put together up to the sink's
// limit.
func TestJoin(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("small", 10)
	w.LogicalMessage("large", 2*wire.MaxWhole)
	w.LogicalMessage("small", 10)
	w.LogicalMessage("larger", 3*wire.MaxWhole)
	w.LogicalMessage("small", 10)
	r := w.Records()
	for _, c := range []struct {
		limit int
		whole []int // of r
	}{
		{DefaultMaxRecord, []int{0, 1, 2, 3, 4}},
		{len(r[3].Raw), []int{0, 1, 2, 3, 4}},
		{len(r[3].Raw) - 1, []int{0, 1, 2, 4}},
		{len(r[1].Raw), []int{0, 1, 2, 4}},
		{len(r[1].Raw) - 1, []int{0, 2, 4}},
		{0, []int{0, 2, 4}},
	} {
		b := NewBatcher(defined(Records(), MaxRecord(c.limit)), w.Options().Start)
		var whole []int
		pieces := map[wal.LSN][]byte{}
		for _, block := range cut(t, w, r[1].Start+100, r[1].End-8) {
			batch := next(t, b, block, 0, 0)
			for rec := range batch.Records() {
				i := 0
				for r[i].Start != rec.StartLSN {
					i++
				}
				if int(rec.FragmentOffset) != len(pieces[rec.StartLSN]) {
					t.Fatalf("limit %d: record %d goes on at %d after %d bytes", c.limit, i, rec.FragmentOffset, len(pieces[rec.StartLSN]))
				}
				pieces[rec.StartLSN] = append(pieces[rec.StartLSN], rec.Data...)
				if rec.Whole() {
					whole = append(whole, i)
				}
				if rec.Last() != (rec.EndLSN == r[i].End) || !rec.Last() && rec.EndLSN != 0 {
					t.Errorf("limit %d: record %d, the fragment at %d ends at %s", c.limit, i, rec.FragmentOffset, rec.EndLSN)
				}
				if rec.Whole() && (rec.MainDataLen == 0 || len(rec.MainData()) != int(rec.MainDataLen) || rec.CRC == 0) {
					t.Errorf("limit %d: record %d has %d bytes of main data of %d, CRC %X", c.limit, i, len(rec.MainData()), rec.MainDataLen, rec.CRC)
				}
			}
			if b.Err() != nil {
				t.Fatal(b.Err())
			}
		}
		for i, rec := range r {
			if !bytes.Equal(pieces[rec.Start], rec.Raw) {
				t.Errorf("limit %d: record %d has other bytes", c.limit, i)
			}
		}
		if len(whole) != len(c.whole) {
			t.Errorf("limit %d: whole are %v, want %v", c.limit, whole, c.whole)
		}
	}
}

// A record that the server began, did not complete and overwrote never was; its
// fragments were delivered before that was known.
func TestOverwritten(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.LogicalMessage("before", 10)
	abandoned, overwrite := w.Abandon(waltest.LogicalMessage("abandoned", 2*wire.MaxWhole), 3*wire.MaxWhole/2)
	w.LogicalMessage("after", 3*wire.MaxWhole)
	w.LogicalMessage("end", 10)
	b := NewBatcher(defined(Records()), w.Options().Start)
	var starts []wal.LSN
	fragments := 0
	for _, block := range cut(t, w) {
		v, err := wire.ParseBlock(block, false)
		if err != nil {
			t.Fatal(err)
		}
		for i := range v.Len() {
			if start, _ := v.RecordLSN(i); start == abandoned {
				fragments++
			}
		}
		for _, r := range records(t, b, next(t, b, block, 0, 0)) {
			if !r.whole {
				t.Errorf("a fragment of the record at %s came through", r.start)
			}
			starts = append(starts, r.start)
		}
	}
	r := w.Records()
	if len(starts) != len(r) || starts[0] != r[0].Start || starts[1] != overwrite || starts[3] != r[3].Start {
		t.Errorf("records at %v, want %v", starts, r)
	}
	if fragments == 0 {
		t.Error("the abandoned record was never delivered: nothing is tested")
	}
}

func TestBatcherRefuses(t *testing.T) {
	w := messages(30)
	r := w.Records()
	list := cut(t, w, r[10].End, r[20].End)
	at := w.Options().Start
	for _, c := range []struct {
		name   string
		of     *Definition
		blocks []int
		from   wal.LSN // of the last block
		record int     // of the last block
		reason string  // "" none
	}{
		{"in order", defined(RawWAL()), []int{0, 1, 2}, 0, 0, ""},
		{"gap", defined(RawWAL()), []int{0, 2}, 0, 0, "gap in the stream: WAL up to " + r[10].End.String() + " is followed by WAL from " + r[20].End.String()},
		{"gap in a block", defined(RawWAL()), []int{0, 1}, r[10].End + 8, 0, "gap in the stream"},
		{"gap for records", defined(Records()), []int{0, 2}, 0, 0, "gap in the stream"},
		{"twice", defined(RawWAL()), []int{0, 0}, 0, 0, "gap in the stream"},
		// A record that was incomplete comes again from its start.
		{"again for records", defined(Records()), []int{0, 0}, 0, 0, ""},
		{"what is new of a block", defined(RawWAL()), []int{0, 0}, r[10].End, 0, ""},
		{"before the block", defined(RawWAL()), []int{1}, r[10].End - 8, 0, "is not inside it"},
		{"behind the block", defined(RawWAL()), []int{1}, r[20].End + 8, 0, "is not inside it"},
		{"record behind the block", defined(Records()), []int{1}, 0, 11, "record 11 of 10: that is not inside it"},
		{"all records of the block", defined(Records()), []int{1}, 0, 10, ""},
		{"negative record", defined(Records()), []int{1}, 0, -1, "is not inside it"},
	} {
		b := NewBatcher(c.of, at)
		var err error
		for i, k := range c.blocks {
			from, record := wal.LSN(0), 0
			if i == len(c.blocks)-1 {
				from, record = c.from, c.record
			} else if err != nil {
				t.Fatal(err)
			}
			_, err = b.Next(list[k], from, record)
		}
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
	}
}

// An entry of the index that is wrong is an error of the batch, not a record.
func TestBatchOfGarbage(t *testing.T) {
	w := messages(10)
	block := bytes.Clone(cut(t, w)[0])
	index := int(block[64]) | int(block[65])<<8 | int(block[66])<<16
	block[index+5*48+15] = 0xFF // length of entry 5
	b := NewBatcher(defined(Records()), w.Options().Start)
	n := 0
	for range next(t, b, block, 0, 0).Records() {
		n++
	}
	if n != 5 || b.Err() == nil || !strings.Contains(b.Err().Error(), "entry 5") {
		t.Errorf("%d records, then %v", n, b.Err())
	}
	if _, err := b.Next([]byte("nonsense"), 0, 0); err == nil {
		t.Error("nonsense is a block")
	}
}

func TestPermanent(t *testing.T) {
	cause := bytes.ErrTooLarge
	if Permanent(nil) != nil || IsPermanent(nil) || IsPermanent(cause) {
		t.Error("what is no permanent error is one")
	}
	for _, err := range []error{Permanent(cause), Permanentf("so: %w", cause), wrapped{Permanent(cause)}} {
		if !IsPermanent(err) || !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("%v is not permanent", err)
		}
	}
}

type wrapped struct{ error }

func (w wrapped) Unwrap() error { return w.error }

// Handing a block's records to a sink allocates nothing.
func TestBatchAllocatesNothing(t *testing.T) {
	w := messages(1000)
	block := cut(t, w)[0]
	b := NewBatcher(defined(Records()), w.Options().Start)
	n := 0
	visit := func(r *wal.Record) bool { n++; return true }
	once := func() {
		batch, err := b.Next(block, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		batch.Records()(visit)
	}
	once()
	n = 0
	if got := testing.AllocsPerRun(10, once); got > 1 || n < 10*500 { // one for the iterator
		t.Errorf("%v allocations for %d records", got, n/11)
	}
}
