package pagestore

import (
	"math/rand/v2"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// generator writes WAL that can be redone: relations are made, filled, truncated
// and dropped, and so are databases.
type generator struct {
	rng *rand.Rand
	w   *waltest.Writer
	dbs []*genDatabase
	oid uint32
	now time.Time

	pages map[PageID]bool // all that any record touched, and some that a copy has
}

type genDatabase struct {
	oid  wal.OID
	rels []*genRelation
}

// genRelation is a relation with the next line pointer of each block.
type genRelation struct {
	rel  wal.RelFileLocator
	next []uint16
}

func newGenerator(seed uint64) *generator {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 0x67656e)), w: waltest.New(waltest.Options{}), oid: 16384,
		now: time.Unix(1_700_000_000, 0), pages: make(map[PageID]bool)}
	g.dbs = append(g.dbs, &genDatabase{oid: 5})
	g.create(g.dbs[0])
	return g
}

func (g *generator) touch(rel wal.RelFileLocator, fork wal.ForkNumber, block wal.BlockNumber) {
	g.pages[PageID{Rel: rel, Fork: fork, Block: block}] = true
}

// step appends a record or some.
func (g *generator) step() {
	g.now = g.now.Add(time.Duration(g.rng.IntN(2000)) * time.Millisecond)
	db := g.dbs[g.rng.IntN(len(g.dbs))]
	if len(db.rels) == 0 {
		g.create(db)
		return
	}
	r := db.rels[g.rng.IntN(len(db.rels))]
	switch n := g.rng.IntN(1000); {
	case n < 700:
		g.insert(r)
	case n < 800:
		g.image(r)
	case n < 860:
		g.visible(r)
	case n < 900:
		g.w.Append(waltest.Commit(700, g.now))
	case n < 930:
		g.truncate(r)
	case n < 960 && len(db.rels) < 4:
		g.create(db)
	case n < 975:
		g.drop(db, r)
	case n < 985 && len(g.dbs) < 4:
		g.copy(db)
	case n < 993 && len(g.dbs) > 1:
		g.dropDatabase()
	}
}

func (g *generator) create(db *genDatabase) {
	g.oid++
	r := &genRelation{rel: wal.RelFileLocator{Spc: 1663, DB: db.oid, Rel: wal.OID(g.oid)}}
	g.w.Append(waltest.Record{Rmgr: wal.RmgrStorage, Info: smgrCreate, Main: words(1663, uint32(db.oid), g.oid, 0)})
	db.rels = append(db.rels, r)
}

func (g *generator) insert(r *genRelation) {
	block := wal.BlockNumber(g.rng.IntN(len(r.next) + 1))
	if int(block) == len(r.next) {
		if len(r.next) == 6 {
			block = 0
		} else {
			r.next = append(r.next, 1)
			if len(r.next) < 5 && g.rng.IntN(4) == 0 { // the block before stays all zero
				g.touch(r.rel, wal.MainFork, block)
				r.next, block = append(r.next, 1), block+1
			}
		}
	}
	if r.next[block] > 100 {
		r.next[block] = 1
	}
	rec := waltest.HeapInsert(700, r.rel, block, r.next[block], []byte{byte(g.rng.Uint32())})
	if g.rng.IntN(4) == 0 {
		rec.Main[2] = 1 // XLH_INSERT_ALL_VISIBLE_CLEARED
		g.touch(r.rel, wal.VisibilityMapFork, 0)
	}
	g.w.Append(rec)
	g.touch(r.rel, wal.MainFork, block)
	r.next[block]++
}

func (g *generator) image(r *genRelation) {
	if len(r.next) == 0 {
		return
	}
	block := wal.BlockNumber(g.rng.IntN(len(r.next)))
	g.w.Append(waltest.FullPageImage(r.rel, block, waltest.HeapPage(6000, byte(g.rng.Uint32()))))
	r.next[block] = 9
}

func (g *generator) visible(r *genRelation) {
	if len(r.next) == 0 {
		return
	}
	block := g.rng.IntN(len(r.next))
	if r.next[block] == 1 {
		return // nothing was ever there, perhaps
	}
	g.w.Append(visibleRecord(r.rel, wal.BlockNumber(block)))
	g.touch(r.rel, wal.VisibilityMapFork, 0)
}

func (g *generator) truncate(r *genRelation) {
	if len(r.next) == 0 {
		return
	}
	stay := g.rng.IntN(len(r.next))
	r.next = r.next[:stay]
	g.w.Append(waltest.Record{Rmgr: wal.RmgrStorage, Info: smgrTruncate, Main: words(uint32(stay), uint32(r.rel.Spc), uint32(r.rel.DB), uint32(r.rel.Rel), 7)})
}

func (g *generator) drop(db *genDatabase, r *genRelation) {
	main := le.AppendUint64(nil, uint64(wal.XID(1)))
	main = append(main, words(xinfoHasRels, 1, uint32(r.rel.Spc), uint32(r.rel.DB), uint32(r.rel.Rel))...)
	g.w.Append(waltest.Record{Rmgr: wal.RmgrTransaction, Info: xactCommit | xactHasInfo, XID: 700, Main: main})
	for i := range db.rels {
		if db.rels[i] == r {
			db.rels = append(db.rels[:i:i], db.rels[i+1:]...)
			return
		}
	}
}

// copy makes a database of another's files, in the same place or with an OID that
// was there before.
func (g *generator) copy(from *genDatabase) {
	db := &genDatabase{oid: wal.OID(6 + g.rng.IntN(5))}
	for _, d := range g.dbs {
		if d.oid == db.oid {
			return
		}
	}
	g.w.Append(waltest.Record{Rmgr: wal.RmgrDatabase, Info: dbaseCreateFileCopy, Main: words(uint32(db.oid), 1663, uint32(from.oid), 1663)})
	for _, r := range from.rels {
		n := &genRelation{rel: r.rel, next: append([]uint16(nil), r.next...)}
		n.rel.DB = db.oid
		db.rels = append(db.rels, n)
		for block := range n.next {
			g.touch(n.rel, wal.MainFork, wal.BlockNumber(block))
		}
		g.touch(n.rel, wal.VisibilityMapFork, 0)
	}
	g.dbs = append(g.dbs, db)
}

func (g *generator) dropDatabase() {
	i := g.rng.IntN(len(g.dbs))
	g.w.Append(waltest.Record{Rmgr: wal.RmgrDatabase, Info: dbaseDrop, Main: words(uint32(g.dbs[i].oid), 1, 1663)})
	g.dbs = append(g.dbs[:i:i], g.dbs[i+1:]...)
}
