package pagestore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestReads runs testdata/reads: WAL, and what pages are as of LSNs in it.
//
//	wal [version=15]                       a new, empty store and WAL
//	record RMGR info=XX [name=N] [main=HEX | main=WORD,…]
//	    SPC/DB/REL FORK BLOCK [init] [image] [compare] [data]   block references
//	commit                                 commits what came
//	read SPC/DB/REL FORK BLOCK [at=N±d]    as of record N's end, plus or minus bytes
//	keys                                   every key of the index but the pages'
//
// main's words are little-endian: u8:1, u16:1, u32:1, u64:1.
func TestReads(t *testing.T) {
	datadriven.Walk(t, "testdata/reads", func(t *testing.T, path string) {
		var r *reads
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "wal" {
				if r != nil {
					r.close()
				}
				r = newReads(t, d)
				return ""
			}
			return r.run(d)
		})
		r.close()
	})
}

type reads struct {
	t     *testing.T
	w     *waltest.Writer
	s     *Store
	ends  map[string]wal.LSN // by name
	names map[wal.LSN]string
	taken int // records of w that were appended to s
}

func newReads(t *testing.T, d *datadriven.TestData) *reads {
	version := int(wal.PG15)
	d.MaybeScanArgs(t, "version", &version)
	w := waltest.New(waltest.Options{Version: wal.Version(version)})
	s, err := Open(t.Context(), "/pages", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	return &reads{t: t, w: w, s: s, ends: make(map[string]wal.LSN), names: make(map[wal.LSN]string)}
}

func (r *reads) close() {
	if err := r.s.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reads) run(d *datadriven.TestData) string {
	switch d.Cmd {
	case "record":
		r.record(d)
		return ""
	case "commit":
		end := r.w.End()
		if err := r.s.Commit(r.t.Context(), Progress{Position: end, LastValid: end}); err != nil {
			return err.Error()
		}
		return ""
	case "read":
		return r.read(d)
	case "keys":
		return r.keys()
	}
	d.Fatalf(r.t, "unknown command")
	return ""
}

func (r *reads) record(d *datadriven.TestData) {
	rmgr, err := wal.ParseRmgrID(d.CmdArgs[0].Key)
	if err != nil {
		d.Fatalf(r.t, "%v", err)
	}
	var info, name, main string
	d.ScanArgs(r.t, "info", &info)
	d.MaybeScanArgs(r.t, "name", &name)
	d.MaybeScanArgs(r.t, "main", &main)
	n, err := strconv.ParseUint(info, 16, 8)
	if err != nil {
		d.Fatalf(r.t, "%v", err)
	}
	rec := waltest.Record{Rmgr: rmgr, Info: uint8(n), XID: 700, Main: r.words(d, main)}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		id := r.page(d, f)
		b := waltest.Block{ID: uint8(len(rec.Blocks)), Rel: id.Rel, Fork: id.Fork, Block: id.Block}
		for _, word := range f[3:] {
			switch word {
			case "init":
				b.Flags |= wal.BlockWillInit
			case "image", "compare":
				b.Image, b.Apply = waltest.HeapPage(1000, byte(id.Block)), word == "image"
				b.Flags |= wal.BlockImageHole
			case "data":
				b.Data = []byte("data")
			default:
				d.Fatalf(r.t, "unknown word %q", word)
			}
		}
		rec.Blocks = append(rec.Blocks, b)
	}
	_, end := r.w.Append(rec)
	if name != "" {
		r.ends[name], r.names[end] = end, name
	}
	for _, a := range r.w.Records()[r.taken:] {
		rec := wal.Record{StartLSN: a.Start, EndLSN: a.End, Version: r.w.Options().Version, Data: a.Raw}
		if err := rec.Decode(a.Raw); err != nil {
			r.t.Fatal(err)
		}
		if err := r.s.Append(&rec); err != nil {
			r.t.Fatal(err)
		}
		r.taken++
	}
}

// words makes main data of its description.
func (r *reads) words(d *datadriven.TestData, s string) []byte {
	var b []byte
	for w := range strings.SplitSeq(s, ";") {
		kind, value, ok := strings.Cut(w, ":")
		if !ok {
			raw, err := hex.DecodeString(w)
			if err != nil {
				d.Fatalf(r.t, "%v", err)
			}
			b = append(b, raw...)
			continue
		}
		n, err := strconv.ParseUint(value, 0, 64)
		if err != nil {
			d.Fatalf(r.t, "%v", err)
		}
		switch kind {
		case "u8":
			b = append(b, byte(n))
		case "u16":
			b = le.AppendUint16(b, uint16(n))
		case "u32":
			b = le.AppendUint32(b, uint32(n))
		case "u64":
			b = le.AppendUint64(b, n)
		default:
			d.Fatalf(r.t, "unknown word %q", w)
		}
	}
	return b
}

func (r *reads) page(d *datadriven.TestData, f []string) PageID {
	if len(f) < 3 {
		d.Fatalf(r.t, "a page is SPC/DB/REL FORK BLOCK")
	}
	var id PageID
	if _, err := fmt.Sscanf(f[0], "%d/%d/%d", &id.Rel.Spc, &id.Rel.DB, &id.Rel.Rel); err != nil {
		d.Fatalf(r.t, "%v", err)
	}
	for id.Fork.String() != f[1] {
		id.Fork++
	}
	n, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		d.Fatalf(r.t, "%v", err)
	}
	id.Block = wal.BlockNumber(n)
	return id
}

func (r *reads) read(d *datadriven.TestData) string {
	f := []string{d.CmdArgs[0].Key, d.CmdArgs[1].Key, d.CmdArgs[2].Key}
	var at string
	d.MaybeScanArgs(r.t, "at", &at)
	var lsn wal.LSN
	if at != "" {
		name := strings.TrimRight(at, "+-0123456789")
		lsn = r.ends[name]
		if name == "start" {
			lsn = r.w.Options().Start
		}
		if rest := at[len(name):]; rest != "" {
			n, err := strconv.Atoi(rest)
			if err != nil {
				d.Fatalf(r.t, "%v", err)
			}
			lsn += wal.LSN(n)
		}
	}
	id := r.page(d, f)
	base, first := NoBase, wal.LSN(0)
	var list []string
	_, err := r.s.EachVersion(r.t.Context(), id, lsn, func(b Base, rec *wal.Record) error {
		if base = b; first == 0 && (b == ImageBase || b == InitBase) {
			first = rec.EndLSN
		}
		if b != ImageBase || rec.EndLSN != first {
			list = append(list, fmt.Sprintf("%s %s %s\n", r.name(rec.EndLSN), rec.RmgrID, rec.Operation()))
		}
		return nil
	})
	if err != nil {
		return r.named(err.Error()) + "\n"
	}
	if base == ImageBase && len(list) == 0 {
		return r.image(id, lsn)
	}
	if _, err := r.s.ReadPage(r.t.Context(), id, lsn); errors.Is(err, ErrNoBase) != (base == NoBase) {
		return fmt.Sprintf("base %d, and %v\n", base, err)
	}
	return fmt.Sprintf("replay %d on %s\n%s", len(list), [...]string{NoBase: "nothing", ImageBase: "image of " + r.name(first), InitBase: "init by " + r.name(first),
		ZeroBase: "zero", MadeBase: "made", CopyBase: "copy"}[base], strings.Join(list, ""))
}

// image reads a page that needs no redo but that of its image.
func (r *reads) image(id PageID, lsn wal.LSN) string {
	a, err := r.s.ReadPage(r.t.Context(), id, lsn)
	if err != nil {
		return r.named(err.Error()) + "\n"
	}
	s := fmt.Sprintf("page of %s, pd_lsn %s\n", r.name(a.LastLSN), r.name(pageLSN(a.Page)))
	if a.Page[8191] != byte(id.Block) {
		s += "its content is another page's\n"
	}
	return s
}

// name is the record's that ends at lsn.
func (r *reads) name(lsn wal.LSN) string {
	if n := r.names[lsn]; n != "" {
		return n
	}
	return lsn.String()
}

// named puts names for LSNs.
func (r *reads) named(s string) string {
	for lsn, n := range r.names {
		s = strings.ReplaceAll(s, lsn.String(), n)
	}
	return s
}

// keys lists the spaces by relation and by LSN.
func (r *reads) keys() string {
	it, err := r.s.ix.db.NewIter(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer it.Close()
	var b strings.Builder
	for ok := it.First(); ok; ok = it.Next() {
		k, v := it.Key(), it.Value()
		switch k[0] {
		case spaceLSN:
			fmt.Fprintf(&b, "alone %s %s info %02X\n", r.name(keyLSN(k)), wal.RmgrID(v[pointerSize]), v[pointerSize+1])
		case spaceRelation:
			fmt.Fprintf(&b, "relation %d/%d/%d %s kind %d forks %04b block %d\n", be.Uint32(k[1:]), be.Uint32(k[5:]), be.Uint32(k[9:]),
				r.name(keyLSN(k)), v[pointerSize], v[pointerSize+1], le.Uint32(v[pointerSize+2:]))
		}
	}
	return b.String()
}
