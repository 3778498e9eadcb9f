package audit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// decoded lays rec out as a server does and decodes it.
func decoded(t testing.TB, v wal.Version, rec waltest.Record) *wal.Record {
	t.Helper()
	w := waltest.New(waltest.Options{Version: v, Prev: 0x2FFFF98})
	w.Append(rec)
	return decodeAppended(t, v, w.Records()[0])
}

func decodeAppended(t testing.TB, v wal.Version, a waltest.Appended) *wal.Record {
	t.Helper()
	r := &wal.Record{StartLSN: a.Start, EndLSN: a.End, Version: v, Data: a.Raw}
	if err := r.Decode(a.Raw); err != nil {
		t.Fatalf("record at %s: %v", a.Start, err)
	}
	return r
}

func TestLines(t *testing.T) {
	at := time.Date(2024, 2, 29, 23, 59, 58, 7000, time.UTC)
	rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	prepare := make([]byte, 60)
	binary.LittleEndian.PutUint64(prepare[16:], uint64(at.UnixMicro()-946684800e6))
	const place = `{"start_lsn":"0/100028","end_lsn":"0/%s","prev_lsn":"0/2FFFF98","timeline":1`
	used := newEncoder() // what it remembers of other lines is in none
	for _, c := range []struct {
		name    string
		version wal.Version
		rec     waltest.Record
		end     string
		want    string
	}{
		{"insert", wal.PG15, waltest.HeapInsert(731, rel, 7, 3, []byte("tuple")), "100068",
			`,"xid":731,"rmgr":"Heap","operation":"INSERT","length":60,"main_data_length":3,"blocks":[{"id":0,"rel":"1663/5/16384","fork":"main","block":7}]}`},
		{"commit", wal.PG15, waltest.Commit(731, at), "100050",
			`,"xid":731,"rmgr":"Transaction","operation":"COMMIT","xact_time":"2024-02-29T23:59:58.000007Z","length":34,"main_data_length":8}`},
		{"abort with info", wal.PG15, waltest.Record{Rmgr: wal.RmgrTransaction, Info: 0xA0, XID: 9, Main: make([]byte, 12)}, "100050",
			`,"xid":9,"rmgr":"Transaction","operation":"ABORT","xact_time":"2000-01-01T00:00:00.000000Z","length":38,"main_data_length":12}`},
		{"prepare", wal.PG15, waltest.Record{Rmgr: wal.RmgrTransaction, Info: 0x10, XID: 9, Main: prepare}, "100080",
			`,"xid":9,"rmgr":"Transaction","operation":"PREPARE","xact_time":"2024-02-29T23:59:58.000007Z","length":86,"main_data_length":60}`},
		{"no blocks", wal.PG15, waltest.RunningXacts(800), "100060",
			`,"xid":0,"rmgr":"Standby","operation":"RUNNING_XACTS","length":50,"main_data_length":24}`},
		{"subtransaction and origin", wal.PG15, waltest.Record{Rmgr: wal.RmgrHeap2, Info: 0x70, XID: 12, TopLevelXID: 11, Origin: 3}, "100048",
			`,"xid":12,"toplevel_xid":11,"origin":3,"rmgr":"Heap2","operation":"NEW_CID","length":32,"main_data_length":0}`},
		{"extension", wal.PG15, waltest.Record{Rmgr: 131, Info: 0xF0, XID: 1}, "100040",
			`,"xid":1,"rmgr":"custom131","operation":"UNKNOWN (f0)","length":24,"main_data_length":0}`},
		{"former operation", wal.PG14, waltest.Record{Rmgr: wal.RmgrDatabase, Info: 0x10, XID: 1}, "100040",
			`,"xid":1,"rmgr":"Database","operation":"DROP","length":24,"main_data_length":0}`},
		{"largest numbers", wal.PG18, waltest.Record{Rmgr: wal.RmgrBtree, Info: 0x30, XID: math.MaxUint32, TopLevelXID: math.MaxUint32, Origin: math.MaxUint16, Blocks: []waltest.Block{
			{ID: 2, Rel: wal.RelFileLocator{Spc: math.MaxUint32, DB: math.MaxUint32, Rel: math.MaxUint32}, Fork: wal.VisibilityMapFork, Block: math.MaxUint32, Flags: wal.BlockWillInit},
			{ID: 32, Rel: rel, Fork: wal.FSMFork, Image: waltest.HeapPage(100, 1)}}}, "102090",
			`,"xid":4294967295,"toplevel_xid":4294967295,"origin":65535,"rmgr":"Btree","operation":"SPLIT_L","length":8269,"main_data_length":0,` +
				`"blocks":[{"id":2,"rel":"4294967295/4294967295/4294967295","fork":"vm","block":4294967295,"will_init":true},` +
				`{"id":32,"rel":"1663/5/16384","fork":"fsm","block":0,"image_bytes":8192}]}`},
		{"applied image with a hole", wal.PG15, waltest.Record{Rmgr: wal.RmgrXLOG, Info: 0xB0, Blocks: []waltest.Block{
			{Rel: rel, Fork: wal.InitFork, Block: 1, Image: waltest.HeapPage(8000, 1), Apply: true, Flags: wal.BlockImageHole}}}, "100120",
			`,"xid":0,"rmgr":"XLOG","operation":"FPI","length":241,"main_data_length":0,"blocks":[{"id":0,"rel":"1663/5/16384","fork":"init","block":1,"image_bytes":192,"apply":true}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, enc := range []*encoder{newEncoder(), used, used} {
				got := string(enc.appendLine(nil, 1, decoded(t, c.version, c.rec)))
				if want := fmt.Sprintf(place, c.end) + c.want + "\n"; got != want {
					t.Errorf("line is\n%swant\n%s", got, want)
				}
			}
		})
	}
}

func TestHeaderLine(t *testing.T) {
	h := header{Version: 1, SystemID: math.MaxUint64, Timeline: 3, From: 0x1_0000_00A0, Level: LevelRecord}
	line := appendHeader(nil, &h)
	want := `{"walplex_audit":1,"system_id":"18446744073709551615","timeline":3,"from":"1/A0","level":"record"}` + "\n"
	if string(line) != want {
		t.Errorf("header is %swant %s", line, want)
	}
	if got, err := parseHeader(line); err != nil || got != h {
		t.Errorf("read back: %+v, %v", got, err)
	}
}

// TestTimes compares with package time's own format.
func TestTimes(t *testing.T) {
	micros := []int64{0, -1, 1, 999_999, 1e6, -1e6, math.MaxInt64, math.MinInt64, -946684800e6, 252455615999999999, 252455616000000000, -31556908800000000, -31556908800000001}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		micros = append(micros, rnd.Int64N(60*365*86400e6)-30*365*86400e6)
	}
	for _, m := range micros {
		want := wal.TimestampTime(m).Format(`"2006-01-02T15:04:05.000000Z"`)
		if got := string(appendTime(nil, m)); got != want {
			t.Errorf("%d is %s, want %s", m, got, want)
		}
	}
}

func TestStringsAreJSON(t *testing.T) {
	for _, s := range []string{"", "plain", `"quoted\"`, "a\x00b\n", "\x7f\x80ÿ", strings.Repeat("\\", 9)} {
		var back string
		if err := json.Unmarshal(appendString(nil, s), &back); err != nil {
			t.Errorf("%q: %s: %v", s, appendString(nil, s), err)
		}
	}
}

// jsonLine is a line as a reader of the trail sees it.
type jsonLine struct {
	StartLSN       wal.LSN        `json:"start_lsn"`
	EndLSN         wal.LSN        `json:"end_lsn"`
	PrevLSN        wal.LSN        `json:"prev_lsn"`
	Timeline       wal.TimelineID `json:"timeline"`
	XID            wal.XID        `json:"xid"`
	TopLevelXID    wal.XID        `json:"toplevel_xid"`
	Origin         uint16         `json:"origin"`
	Rmgr           string         `json:"rmgr"`
	Operation      string         `json:"operation"`
	XactTime       *time.Time     `json:"xact_time"`
	Length         uint32         `json:"length"`
	MainDataLength uint32         `json:"main_data_length"`
	Blocks         []jsonBlock    `json:"blocks"`
}

type jsonBlock struct {
	ID         uint8           `json:"id"`
	Rel        string          `json:"rel"`
	Fork       string          `json:"fork"`
	Block      wal.BlockNumber `json:"block"`
	WillInit   bool            `json:"will_init"`
	ImageBytes uint16          `json:"image_bytes"`
	Apply      bool            `json:"apply"`
}

// wantLine says a record in encoding/json's types.
func wantLine(tli wal.TimelineID, rec *wal.Record) jsonLine {
	l := jsonLine{StartLSN: rec.StartLSN, EndLSN: rec.EndLSN, PrevLSN: rec.PrevLSN, Timeline: tli, XID: rec.XID,
		TopLevelXID: rec.TopLevelXID, Origin: rec.Origin, Rmgr: rec.RmgrID.String(), Operation: rec.Operation(),
		Length: rec.TotalLen, MainDataLength: rec.MainDataLen}
	for i := range rec.Blocks {
		r := &rec.Blocks[i]
		b := jsonBlock{ID: r.ID, Rel: r.Rel.String(), Fork: r.Fork.String(), Block: r.Block, WillInit: r.WillInit()}
		if r.HasImage() {
			b.ImageBytes, b.Apply = r.ImageLen, r.ApplyImage()
		}
		l.Blocks = append(l.Blocks, b)
	}
	return l
}

func FuzzLine(f *testing.F) {
	w := waltest.Random(1, waltest.Options{}, 64<<10)
	for _, a := range w.Records()[:20] {
		f.Add(uint64(a.Start), uint64(a.End), uint8(wal.PG15), uint32(1), a.Raw)
	}
	f.Add(uint64(math.MaxUint64), uint64(0), uint8(0), uint32(math.MaxUint32), waltest.RecordHeader(24, math.MaxUint32, math.MaxUint64, 0xFF, 77, 0))
	enc := newEncoder()
	f.Fuzz(func(t *testing.T, start, end uint64, version uint8, tli uint32, raw []byte) {
		rec := &wal.Record{StartLSN: wal.LSN(start), EndLSN: wal.LSN(end), Version: wal.Version(version), Data: raw}
		if rec.Decode(raw) != nil {
			return
		}
		line := enc.appendLine(nil, wal.TimelineID(tli), rec)
		if n := strings.Count(string(line), "\n"); n != 1 || line[len(line)-1] != '\n' || len(line) > maxLine {
			t.Fatalf("%d bytes in %d lines: %q", len(line), n, line)
		}
		var got struct {
			jsonLine
			XactTime string `json:"xact_time"` // years beyond what RFC 3339 has are written too
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if want := wantLine(wal.TimelineID(tli), rec); !reflect.DeepEqual(got.jsonLine, want) {
			t.Fatalf("%s\nis %+v\nwant %+v", line, got.jsonLine, want)
		}
		if l, ok := scanLine(line); !ok || l != (scanned{got.StartLSN, got.EndLSN, got.PrevLSN, got.Timeline}) {
			t.Fatalf("%s scans as %+v, %v", line, l, ok)
		}
		if _, ok := rec.XactTime(); ok != (got.XactTime != "") {
			t.Fatalf("xact_time: %s", line)
		}
	})
}

// FuzzScan: what is scanned is JSON with the same values; nothing else is.
func FuzzScan(f *testing.F) {
	enc := newEncoder()
	for _, a := range waltest.Random(1, waltest.Options{}, 64<<10).Records()[:40] {
		f.Add(enc.appendLine(nil, 1, decodeAppended(f, wal.PG15, a)))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		l, ok := scanLine(line)
		if !ok {
			return
		}
		var r recordLine
		if err := json.Unmarshal(line, &r); err != nil || !r.complete() || l != (scanned{*r.Start, *r.End, *r.Prev, *r.Timeline}) {
			t.Fatalf("%q scans as %+v, is %+v, %v", line, l, r, err)
		}
	})
}

func TestLinesAllocateNothing(t *testing.T) {
	w := waltest.Random(2, waltest.Options{}, 256<<10)
	var recs []*wal.Record
	for _, a := range w.Records() {
		recs = append(recs, decodeAppended(t, wal.PG15, a))
	}
	enc, buf := newEncoder(), make([]byte, 0, maxLine)
	n := testing.AllocsPerRun(10, func() {
		for _, r := range recs {
			buf = enc.appendLine(buf[:0], 1, r)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for %d lines", n, len(recs))
	}
}

func BenchmarkLine(b *testing.B) {
	rel := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	for _, c := range []struct {
		name string
		rec  waltest.Record
	}{
		{"insert", waltest.HeapInsert(731, rel, 7, 3, []byte("tuple"))},
		{"commit", waltest.Commit(731, time.Date(2024, 2, 29, 23, 59, 58, 7000, time.UTC))},
		{"image", waltest.FullPageImage(rel, 7, waltest.HeapPage(100, 1))},
	} {
		b.Run(c.name, func(b *testing.B) {
			rec, enc := decoded(b, wal.PG15, c.rec), newEncoder()
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = enc.appendLine(buf[:0], 1, rec)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}
