package waltest

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// Random writes at least n bytes of a mixed workload: heap inserts, commits,
// full-page images with and without hole, B-tree-like records of several
// blocks, subtransactions and origins, extensions' resource managers (since
// PG15), messages of up to several pages, records that end exactly at a page's
// end or leave too little for a header, segment switches, and now and then
// a record larger than a segment if segments are small. The same seed and
// options give the same bytes.
func Random(seed uint64, o Options, n int) *Writer {
	g := generator{Writer: New(o), rnd: rand.New(rand.NewPCG(seed, 0x77616c)), clock: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), xid: 700}
	for len(g.data) < n {
		g.step(n)
	}
	return g.Writer
}

type generator struct {
	*Writer
	rnd   *rand.Rand
	clock time.Time
	xid   wal.XID
	off   uint16 // line pointer of the last insert
	block wal.BlockNumber
}

// step appends one record, or a pair that belongs together.
func (g *generator) step(limit int) {
	switch p := g.rnd.IntN(1000); {
	case p < 550:
		g.insert()
	case p < 700:
		g.commit()
	case p < 800:
		g.Append(FullPageImage(g.rel(), wal.BlockNumber(g.rnd.IntN(1000)), HeapPage(g.rnd.IntN(8000), byte(g.rnd.Uint32()))))
	case p < 880:
		g.Append(g.severalBlocks())
	case p < 930:
		g.Append(g.mainDataOnly())
	case p < 960:
		g.LogicalMessage("random", g.rnd.IntN(5*wal.PageSize))
	case p < 990:
		g.FillTo(8 * g.rnd.IntN(4))
	case p < 997:
		g.Append(RunningXacts(g.xid))
	case p < 998:
		if g.rnd.IntN(4) == 0 {
			g.Switch()
		}
	default:
		g.large(limit)
	}
}

func (g *generator) insert() {
	g.off++
	if g.off > 100 {
		g.off = 1
		g.block++
	}
	g.Append(HeapInsert(g.xid, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}, g.block, g.off, g.bytes(8+g.rnd.IntN(120))))
}

func (g *generator) commit() {
	g.clock = g.clock.Add(time.Duration(1+g.rnd.IntN(5000)) * time.Microsecond)
	g.Append(Commit(g.xid, g.clock))
	g.xid++
}

// severalBlocks is a record with up to four references, of which some repeat
// the relation, some have images and some have data.
func (g *generator) severalBlocks() Record {
	rec := Record{Rmgr: wal.RmgrBtree, Info: 0x30, XID: g.xid, Main: g.bytes(10)}
	rel := g.rel()
	for id := range 1 + g.rnd.IntN(4) {
		if g.rnd.IntN(3) == 0 {
			rel = g.rel()
		}
		k := Block{ID: uint8(id), Rel: rel, Block: wal.BlockNumber(g.rnd.Uint32()), Data: g.bytes(g.rnd.IntN(200))}
		switch g.rnd.IntN(5) {
		case 0:
			k.Image, k.Apply = HeapPage(g.rnd.IntN(8000), 0xA5), g.rnd.IntN(2) == 0
			k.Flags = wal.BlockImageHole
		case 1:
			k.Flags = wal.BlockWillInit
		}
		rec.Blocks = append(rec.Blocks, k)
	}
	if g.rnd.IntN(3) == 0 {
		rec.TopLevelXID = g.xid - 1
	}
	if g.rnd.IntN(3) == 0 {
		rec.Origin = uint16(1 + g.rnd.IntN(9))
	}
	return rec
}

// large writes a message that is larger than a segment where segments are of
// the least size and the caller asked for that much; else one of 100 pages.
func (g *generator) large(limit int) {
	n := 100 * wal.PageSize
	if s := int(g.opts.SegmentSize); s == wal.MinSegmentSize && limit >= 2*s {
		n = s + g.rnd.IntN(s)
	}
	if n <= limit {
		g.LogicalMessage("large", n)
	}
}

// mainDataOnly is a record without block references: of an extension, or one
// of the built-in resource managers' whose main data is small.
func (g *generator) mainDataOnly() Record {
	page := binary.LittleEndian.AppendUint64(nil, uint64(g.rnd.IntN(1000)))
	switch p := g.rnd.IntN(4); {
	case p == 0:
		return Record{Rmgr: wal.RmgrCLOG, Info: 0x00, Main: page} // CLOG_ZEROPAGE
	case p == 1:
		return Record{Rmgr: wal.RmgrMultiXact, Info: 0x00, Main: page} // XLOG_MULTIXACT_ZERO_OFF_PAGE
	case p == 2 || g.opts.Version < wal.PG15:
		rel := g.rel()
		main := binary.LittleEndian.AppendUint32(nil, uint32(rel.Spc))
		main = binary.LittleEndian.AppendUint32(main, uint32(rel.DB))
		main = binary.LittleEndian.AppendUint32(main, uint32(rel.Rel))
		main = binary.LittleEndian.AppendUint32(main, uint32(wal.MainFork))
		return Record{Rmgr: wal.RmgrStorage, Info: 0x10, XID: g.xid, Main: main} // XLOG_SMGR_CREATE
	}
	return Record{Rmgr: wal.RmgrID(128 + g.rnd.IntN(128)), Info: uint8(g.rnd.Uint32()) & 0xF0, XID: g.xid, Main: g.bytes(g.rnd.IntN(400))}
}

func (g *generator) rel() wal.RelFileLocator {
	return wal.RelFileLocator{Spc: 1663, DB: 5, Rel: wal.OID(16384 + g.rnd.IntN(20))}
}

func (g *generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rnd.Uint32())
	}
	return b
}
