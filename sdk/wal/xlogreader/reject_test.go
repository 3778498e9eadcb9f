package xlogreader_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

const (
	segment = wal.MinSegmentSize
	first   = segment + waltest.LongHeaderSize // of the first record
	page2   = segment + wal.PageSize           // the second page
)

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// rejections has one case for every way in which WAL can be refused. The WAL
// starts at segment; of what build wrote, records complete ones precede the
// error.
var rejections = []struct {
	name    string
	build   func(w *waltest.Writer)
	options func(o *xlogreader.Options)
	records int
	lsn     wal.LSN
	want    string
}{
	// Page headers.
	{name: "magic is garbage",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(segment, u16(0xCAFE)) },
		lsn:   segment, want: "invalid magic number CAFE in WAL segment 000000010000000000000001, LSN 0/100000, offset 0"},
	{name: "magic of an unsupported version",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(segment, u16(0xD106)) },
		lsn:   segment, want: "invalid magic number D106 in WAL segment 000000010000000000000001, LSN 0/100000, offset 0 (a page of an unsupported version: PostgreSQL 14 to 18 can be read)"},
	{name: "magic changes",
		build:   func(w *waltest.Writer) { w.FillTo(0); w.FillTo(0); w.Patch(page2, u16(wal.PG16.Magic())) },
		records: 1,
		lsn:     page2, want: "invalid magic number D113 in WAL segment 000000010000000000000001, LSN 0/102000, offset 8192 (a page of PostgreSQL 16, after pages of PostgreSQL 15)"},
	{name: "page of zeros in a stream",
		build:   func(w *waltest.Writer) { w.FillTo(0); w.PadTo(page2 + wal.PageSize) },
		records: 1,
		lsn:     page2, want: "invalid magic number 0000 in WAL segment 000000010000000000000001, LSN 0/102000, offset 8192"},
	{name: "unknown page flags",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(segment+2, u16(0x1234)) },
		lsn:   segment, want: "invalid info bits 1234 in WAL segment 000000010000000000000001, LSN 0/100000, offset 0"},
	{name: "short header at a segment's start",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(segment+2, u16(0)) },
		lsn:   segment, want: "invalid info bits 0000 in WAL segment 000000010000000000000001, LSN 0/100000, offset 0"},
	{name: "long header inside a segment",
		build: func(w *waltest.Writer) {
			w.FillTo(0)
			w.LogicalMessage("m", 9)
			w.Patch(page2+2, u16(waltest.LongHeader))
		},
		records: 1,
		lsn:     page2, want: "invalid info bits 0002 in WAL segment 000000010000000000000001, LSN 0/102000, offset 8192"},
	{name: "another system",
		build:   func(w *waltest.Writer) { w.LogicalMessage("m", 9) },
		options: func(o *xlogreader.Options) { o.SystemID = 12345 },
		lsn:     segment, want: "WAL file is from different database system: WAL file database system identifier is 7000000000000000001, pg_control database system identifier is 12345"},
	{name: "system changes",
		build: func(w *waltest.Writer) {
			w.Switch()
			w.LogicalMessage("m", 9)
			w.Patch(2*segment+24, u64(12345))
		},
		options: func(o *xlogreader.Options) { o.SystemID = 0 },
		records: 1,
		lsn:     2 * segment, want: "WAL file is from different database system: WAL file database system identifier is 12345, pg_control database system identifier is 7000000000000000001"},
	{name: "another segment size",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(segment+32, u32(2*segment)) },
		lsn:   segment, want: "WAL file is from different database system: incorrect segment size in page header"},
	{name: "another page size",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(segment+36, u32(16384)) },
		lsn:   segment, want: "WAL file is from different database system: incorrect XLOG_BLCKSZ in page header"},
	{name: "page of another place",
		build:   func(w *waltest.Writer) { w.FillTo(0); w.LogicalMessage("m", 9); w.Patch(page2+8, u64(0xBAAAAAAD)) },
		records: 1,
		lsn:     page2, want: "unexpected pageaddr 0/BAAAAAAD in WAL segment 000000010000000000000001, LSN 0/102000, offset 8192"},
	{name: "timeline goes back",
		build:   func(w *waltest.Writer) { w.SetTimeline(3); w.FillTo(0); w.SetTimeline(2); w.FillTo(0) },
		records: 1,
		lsn:     page2, want: "out-of-sequence timeline ID 2 (after 3) in WAL segment 000000030000000000000001, LSN 0/102000, offset 8192"},
	{name: "timeline later than the one that is read",
		build:   func(w *waltest.Writer) { w.FillTo(0); w.SetTimeline(3); w.FillTo(0) },
		options: func(o *xlogreader.Options) { o.Timeline = 2 },
		records: 1,
		lsn:     page2, want: "unexpected timeline ID 3 (expected at most 2) in WAL segment 000000020000000000000001, LSN 0/102000, offset 8192"},

	// Records over several pages.
	{name: "continuation of nothing",
		build: func(w *waltest.Writer) {
			w.FillTo(0)
			w.LogicalMessage("m", 9)
			w.Patch(page2+2, u16(waltest.FirstIsContrecord))
		},
		records: 1,
		lsn:     page2 + 24, want: "contrecord is requested by 0/102018"},
	{name: "continuation of nothing at the start",
		build: func(w *waltest.Writer) {
			w.LogicalMessage("m", 9)
			w.Patch(segment+2, u16(waltest.LongHeader|waltest.FirstIsContrecord))
		},
		lsn: first, want: "contrecord is requested by 0/100028"},
	{name: "page both continues and overwrites",
		build: func(w *waltest.Writer) {
			w.Abandon(waltest.LogicalMessage("m", 9000), 5000)
			w.Patch(page2+2, u16(waltest.FirstIsContrecord|waltest.FirstIsOverwriteContrecord))
		},
		lsn: page2 + 24, want: "contrecord is requested by 0/102018"},
	{name: "no continuation",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9000); w.Patch(page2+2, u16(0)) },
		lsn:   first, want: "there is no contrecord flag at 0/100028"},
	{name: "continuation of no length",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9000); w.Patch(page2+16, u32(0)) },
		lsn:   first, want: "invalid contrecord length 0 (expected 903) at 0/100028"},
	{name: "continuation of a wrong length",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9000); w.Patch(page2+16, u32(123456)) },
		lsn:   first, want: "invalid contrecord length 123456 (expected 903) at 0/100028"},
	{name: "continuation of a wrong length behind a split header",
		build:   func(w *waltest.Writer) { w.FillTo(8); w.LogicalMessage("m", 9); w.Patch(page2+16, u32(123456)) },
		records: 1,
		lsn:     page2 - 8, want: "invalid contrecord length 123456 (expected 53) at 0/101FF8"},
	{name: "length beyond what a record can have",
		build: func(w *waltest.Writer) {
			w.LogicalMessage("m", 9000)
			w.Patch(first, u32(wal.MaxRecordSize+1))
			w.Patch(page2+16, u32(wal.MaxRecordSize+1-(wal.PageSize-waltest.LongHeaderSize)))
		},
		lsn: first, want: "record length 1069547521 at 0/100028 too long"},
	{name: "length beyond what a record can have in a split header",
		build: func(w *waltest.Writer) {
			w.FillTo(8)
			w.LogicalMessage("m", 9)
			w.Patch(page2-8, u32(wal.MaxRecordSize+1))
			w.Patch(page2+16, u32(wal.MaxRecordSize+1-8))
		},
		records: 1,
		lsn:     page2 - 8, want: "record length 1069547521 at 0/101FF8 too long"},

	// Record headers.
	{name: "length shorter than a header",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(first, u32(23)) },
		lsn:   first, want: "invalid record length at 0/100028: expected at least 24, got 23"},
	{name: "length shorter than a header at a page's end",
		build:   func(w *waltest.Writer) { w.FillTo(8); w.LogicalMessage("m", 9); w.Patch(page2-8, u32(23)) },
		records: 1,
		lsn:     page2 - 8, want: "invalid record length at 0/101FF8: expected at least 24, got 23"},
	{name: "zeros in a stream",
		build:   func(w *waltest.Writer) { _, end := w.LogicalMessage("m", 9); w.PadTo(end + 8) },
		records: 1,
		lsn:     first + 64, want: "invalid record length at 0/100068: expected at least 24, got 0"},
	{name: "resource manager of nobody",
		build: func(w *waltest.Writer) { w.Append(waltest.Record{Rmgr: 22}) },
		lsn:   first, want: "invalid resource manager ID 22 at 0/100028"},
	{name: "resource manager below the extensions'",
		build: func(w *waltest.Writer) { w.Append(waltest.Record{Rmgr: 127}) },
		lsn:   first, want: "invalid resource manager ID 127 at 0/100028"},
	{name: "xl_prev behind the record",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Patch(first+8, u64(first)) },
		lsn:   first, want: "record with incorrect prev-link 0/100028 at 0/100028"},
	{name: "xl_prev not of the record before",
		build: func(w *waltest.Writer) {
			w.LogicalMessage("m", 9)
			s, _ := w.LogicalMessage("m", 9)
			w.Patch(s+8, u64(8))
		},
		records: 1,
		lsn:     first + 64, want: "record with incorrect prev-link 0/8 at 0/100068"},
	{name: "xl_prev not of the record before in a split header",
		build:   func(w *waltest.Writer) { w.FillTo(8); w.LogicalMessage("m", 9); w.Patch(page2+24, u64(8)) },
		records: 1,
		lsn:     page2 - 8, want: "record with incorrect prev-link 0/8 at 0/101FF8"},

	// Contents.
	{name: "a bit in the data",
		build:   func(w *waltest.Writer) { w.LogicalMessage("m", 9); s, _ := w.LogicalMessage("m", 9); w.Flip(s + 50) },
		records: 1,
		lsn:     first + 64, want: "incorrect resource manager data checksum in record at 0/100068"},
	{name: "a bit in the header",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Flip(first + 5) },
		lsn:   first, want: "incorrect resource manager data checksum in record at 0/100028"},
	{name: "a bit in the checksum",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9); w.Flip(first + 21) },
		lsn:   first, want: "incorrect resource manager data checksum in record at 0/100028"},
	{name: "a bit on the second page",
		build: func(w *waltest.Writer) { w.LogicalMessage("m", 9000); w.Flip(page2 + 100) },
		lsn:   first, want: "incorrect resource manager data checksum in record at 0/100028"},
	{name: "a bit in a switch",
		build: func(w *waltest.Writer) { w.Switch(); w.Flip(first + 5) },
		lsn:   first, want: "incorrect resource manager data checksum in record at 0/100028"},
	{name: "a bit in the first fragment",
		build:   func(w *waltest.Writer) { w.LogicalMessage("m", 200_000); w.Flip(first + 100) },
		options: func(o *xlogreader.Options) { o.MaxWhole = 100_000 },
		lsn:     first, want: "incorrect resource manager data checksum in record at 0/100028"},
	{name: "a bit in the last fragment",
		build:   func(w *waltest.Writer) { _, end := w.LogicalMessage("m", 200_000); w.Flip(end - 100) },
		options: func(o *xlogreader.Options) { o.MaxWhole = 100_000 },
		lsn:     first, want: "incorrect resource manager data checksum in record at 0/100028"},
	{name: "a block id that does not exist",
		build: func(w *waltest.Writer) { w.AppendRaw(wal.RmgrHeap, 0, 700, []byte{33, 0, 0, 0}) },
		lsn:   first, want: "invalid block_id 33 at 0/100028"},
	{name: "a block id that does not exist in a fragment",
		build: func(w *waltest.Writer) {
			w.AppendRaw(wal.RmgrHeap, 0, 700, append([]byte{33}, make([]byte, 200_000)...))
		},
		options: func(o *xlogreader.Options) { o.MaxWhole = 100_000 },
		lsn:     first, want: "invalid block_id 33 at 0/100028"},

	// Records that were never completed.
	{name: "another record was overwritten",
		build: func(w *waltest.Writer) {
			w.FillTo(8000)
			_, start := w.Abandon(waltest.LogicalMessage("m", 9000), 5000)
			raw := w.Records()[1].Raw
			binary.LittleEndian.PutUint64(raw[26:], 0x100500)
			binary.LittleEndian.PutUint32(raw[20:], waltest.Checksum(raw))
			w.Patch(start, raw)
		},
		records: 1,
		lsn:     page2 + 24, want: "mismatching overwritten LSN 0/100500 -> 0/1000C0"},
}

func TestRejections(t *testing.T) {
	for _, c := range rejections {
		t.Run(c.name, func(t *testing.T) {
			w := waltest.New(waltest.Options{})
			c.build(w)
			o := options(w)
			if c.options != nil {
				c.options(&o)
			}
			for name, split := range splits(1) {
				r := xlogreader.New(w.Options().Start, o)
				res := read(t, r, w.Bytes(), split)
				mustReject(t, name, res.err, c.lsn, c.want)
				if len(res.records) != c.records {
					t.Errorf("%s: %d records came before, want %d", name, len(res.records), c.records)
				}
				if _, again := r.Next(new(wal.Record)); again != res.err {
					t.Errorf("%s: the next answer is %v", name, again)
				}
				if _, last := r.LastRecord(); r.RecordsEnd() > c.lsn || r.RecordsEnd() < last {
					t.Errorf("%s: RecordsEnd %s; the last record ends at %s, the error is at %s", name, r.RecordsEnd(), last, c.lsn)
				}
				r.Feed(make([]byte, 100)) // is ignored
			}
		})
	}
}

func mustReject(t *testing.T, name string, err error, lsn wal.LSN, want string) {
	t.Helper()
	var e *wal.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: no *wal.Error but %v", name, err)
	}
	if e.Reason != want || e.LSN != lsn {
		t.Fatalf("%s: at %s: %s\nwant at %s: %s", name, e.LSN, e.Reason, lsn, want)
	}
}

// Before PG15 there were no extensions' resource managers.
func TestCustomResourceManager(t *testing.T) {
	for version, want := range map[wal.Version]string{
		wal.PG14: "invalid resource manager ID 128 at 0/100028", wal.PG15: "", wal.PG18: "",
	} {
		w := waltest.New(waltest.Options{Version: version})
		w.Append(waltest.Record{Rmgr: 128})
		res := read(t, xlogreader.New(segment, options(w)), w.Bytes(), all)
		if want != "" {
			mustReject(t, version.String(), res.err, first, want)
		} else if res.err != nil || len(res.records) != 1 {
			t.Errorf("%v: %d records, %v", version, len(res.records), res.err)
		}
	}
}

// A Reader that starts inside a record checks what it can see of it.
func TestRejectionsInSkippedRecord(t *testing.T) {
	for _, c := range []struct {
		name  string
		patch func(w *waltest.Writer)
		want  string
	}{
		{"no continuation", func(w *waltest.Writer) { w.Patch(page2+wal.PageSize+2, u16(0)) },
			"there is no contrecord flag at 0/104000"},
		{"continuation of a wrong length", func(w *waltest.Writer) { w.Patch(page2+wal.PageSize+16, u32(7)) },
			"invalid contrecord length 7 (expected 13735) at 0/104000"},
		{"continuation of no length", func(w *waltest.Writer) { w.Patch(page2+wal.PageSize+16, u32(0)) },
			"invalid contrecord length 0 (expected 13735) at 0/104000"},
	} {
		w := waltest.New(waltest.Options{})
		w.LogicalMessage("m", 30_000)
		c.patch(w)
		for name, split := range splits(2) {
			res := read(t, xlogreader.New(page2, options(w)), w.Bytes()[wal.PageSize:], split)
			mustReject(t, c.name+" "+name, res.err, page2+wal.PageSize, c.want)
		}
	}
}

func TestNewRejects(t *testing.T) {
	for _, c := range []struct {
		start wal.LSN
		size  wal.SegmentSize
		want  string
	}{
		{segment, 0, "cannot read WAL with segments of 0 bytes: wal_segment_size is a power of two between 1 MiB and 1 GiB"},
		{segment, 3 << 20, "cannot read WAL with segments of 3145728 bytes: wal_segment_size is a power of two between 1 MiB and 1 GiB"},
		{0, segment, "cannot read WAL from 0/0: begin at the start of a page, best of a segment"},
		{first, segment, "cannot read WAL from 0/100028: begin at the start of a page, best of a segment"},
	} {
		_, err := xlogreader.New(c.start, xlogreader.Options{SegmentSize: c.size}).Next(new(wal.Record))
		mustReject(t, c.want, err, c.start, c.want)
	}
}

func TestFeedTooEarlyPanics(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.Commit(700, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)))
	r := xlogreader.New(segment, options(w))
	r.Feed(w.Bytes())
	defer func() {
		if recover() == nil {
			t.Error("Feed took bytes while others were not used up")
		}
	}()
	r.Feed(w.Bytes())
}
