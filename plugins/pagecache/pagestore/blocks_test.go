package pagestore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// files is what recovery makes of the files of a cluster: how many blocks each
// fork has. It is the model that sizes are held against, written as smgr_redo,
// xact_redo and dbase_redo do it: to all files at once.
type files map[forkKey]wal.BlockNumber

func (f files) apply(rec *wal.Record) {
	extend := func(rel wal.RelFileLocator, fork wal.ForkNumber, block wal.BlockNumber) {
		k := makeForkKey(rel, fork)
		if n, ok := f[k]; !ok || block >= n {
			f[k] = block + 1
		}
	}
	for _, b := range rec.Blocks {
		extend(b.Rel, b.Fork, b.Block)
	}
	if len(rec.Blocks) > 0 {
		for _, b := range redo.Implied(rec, nil) {
			extend(b.Rel, b.Fork, b.Block)
		}
	}
	main := rec.MainData()
	u32 := func(i int) uint32 { return le.Uint32(main[4*i:]) }
	rel := func(i int) wal.RelFileLocator {
		return wal.RelFileLocator{Spc: wal.OID(u32(i)), DB: wal.OID(u32(i + 1)), Rel: wal.OID(u32(i + 2))}
	}
	switch op := rec.Info & 0x70; {
	case rec.RmgrID == wal.RmgrStorage && op == 0x10:
		f[makeForkKey(rel(0), wal.ForkNumber(u32(3)))] = 0
		if u32(3) == 0 {
			delete(f, makeForkKey(rel(0), wal.FSMFork))
			delete(f, makeForkKey(rel(0), wal.VisibilityMapFork))
		}
	case rec.RmgrID == wal.RmgrStorage && op == 0x20:
		f.truncate(rel(1), wal.BlockNumber(u32(0)), u32(4))
	case rec.RmgrID == wal.RmgrTransaction && rec.Info&0x80 != 0:
		for i := range int(u32(3)) { // xact_time, xinfo with relations only
			for fork := range wal.ForkNumber(4) {
				delete(f, makeForkKey(rel(4+3*i), fork))
			}
		}
	case rec.RmgrID == wal.RmgrDatabase:
		f.database(rec, u32)
	}
}

func (f files) truncate(rel wal.RelFileLocator, heap wal.BlockNumber, flags uint32) {
	cut := func(fork wal.ForkNumber, n wal.BlockNumber) {
		k := makeForkKey(rel, fork)
		if old, ok := f[k]; ok && old > n {
			f[k] = n
		}
	}
	if flags&1 != 0 {
		f[makeForkKey(rel, wal.MainFork)] = heap
	}
	if flags&2 != 0 {
		cut(wal.VisibilityMapFork, (heap+32671)/32672)
	}
	if flags&4 != 0 {
		cut(wal.FSMFork, fsmBlocks(heap)) // TestFSMBlocks
	}
}

func (f files) database(rec *wal.Record, u32 func(int) uint32) {
	remove := func(spc, db uint32) {
		maps.DeleteFunc(f, func(k forkKey, _ wal.BlockNumber) bool { return k.space == uint64(spc)<<32|uint64(db) })
	}
	op := rec.Info >> 4
	if rec.Version < wal.PG15 && op == 1 {
		op = 2
	}
	switch op {
	case 0: // copy
		source := uint64(u32(3))<<32 | uint64(u32(2))
		to := uint64(u32(1))<<32 | uint64(u32(0))
		remove(u32(1), u32(0))
		for k, n := range maps.Clone(f) {
			if k.space == source {
				f[forkKey{to, k.rel}] = n
			}
		}
	case 1:
		remove(u32(1), u32(0))
	case 2:
		for i := range int(u32(1)) {
			remove(u32(2+i), u32(0))
		}
	}
}

func words(w ...uint32) (b []byte) {
	for _, v := range w {
		b = le.AppendUint32(b, v)
	}
	return b
}

func locatorWords(rel wal.RelFileLocator) []uint32 {
	return []uint32{uint32(rel.Spc), uint32(rel.DB), uint32(rel.Rel)}
}

func smgrCreateRecord(rel wal.RelFileLocator, fork wal.ForkNumber) waltest.Record {
	return waltest.Record{Rmgr: wal.RmgrStorage, Info: 0x10, Main: words(append(locatorWords(rel), uint32(fork))...)}
}

func smgrTruncateRecord(rel wal.RelFileLocator, blocks, flags uint32) waltest.Record {
	return waltest.Record{Rmgr: wal.RmgrStorage, Info: 0x20, Main: words(append(append([]uint32{blocks}, locatorWords(rel)...), flags)...)}
}

// dropRecord is a commit or abort, by info, that drops the relations.
func dropRecord(info uint8, rels ...wal.RelFileLocator) waltest.Record {
	w := []uint32{1, 0, xinfoHasRels, uint32(len(rels))}
	for _, rel := range rels {
		w = append(w, locatorWords(rel)...)
	}
	return waltest.Record{Rmgr: wal.RmgrTransaction, Info: info | xactHasInfo, XID: 700, Main: words(w...)}
}

func dropDatabaseRecord(v wal.Version, db uint32, spcs ...uint32) waltest.Record {
	info := uint8(0x20)
	if v < wal.PG15 {
		info = 0x10
	}
	return waltest.Record{Rmgr: wal.RmgrDatabase, Info: info, Main: words(append([]uint32{db, uint32(len(spcs))}, spcs...)...)}
}

func copyDatabaseRecord(db, spc, fromDB, fromSpc uint32) waltest.Record {
	return waltest.Record{Rmgr: wal.RmgrDatabase, Info: 0x00, Main: words(db, spc, fromDB, fromSpc)}
}

// blocksRecord touches blocks of forks, in a record that nothing else depends on.
func blocksRecord(blocks ...PageID) waltest.Record {
	rec := waltest.Record{Rmgr: wal.RmgrBtree, Info: 0x30, Main: []byte("main")}
	for i, b := range blocks {
		rec.Blocks = append(rec.Blocks, waltest.Block{ID: uint8(i), Rel: b.Rel, Fork: b.Fork, Block: b.Block, Data: []byte("data")})
	}
	return rec
}

// randomFiles writes records that make, extend, cut, drop and copy files of a few
// relations in a few databases.
func randomFiles(rng *rand.Rand, w *waltest.Writer, n int) {
	spc := func() uint32 { return 1663 + uint32(rng.IntN(2)) }
	db := func() uint32 { return 5 + uint32(rng.IntN(4)) }
	rel := func() wal.RelFileLocator {
		return wal.RelFileLocator{Spc: wal.OID(spc()), DB: wal.OID(db()), Rel: wal.OID(16384 + rng.IntN(3))}
	}
	// Blocks near the bounds of the maps' pages, now and then.
	block := func() wal.BlockNumber {
		base := []int{0, 0, 0, 4069, 32672, 4069 * 4069}[rng.IntN(6)]
		return wal.BlockNumber(max(0, base-2) + rng.IntN(6))
	}
	forkOf := func() wal.ForkNumber { return wal.ForkNumber(rng.IntN(4)) }
	for range n {
		switch p := rng.IntN(100); {
		case p < 55:
			var ids []PageID
			for range 1 + rng.IntN(3) {
				if id := (PageID{Rel: rel(), Fork: forkOf(), Block: block()}); !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			w.Append(blocksRecord(ids...))
		case p < 62:
			insert := waltest.HeapInsert(700, rel(), block(), 2, []byte("x"))
			insert.Main[2] = 1 // XLH_INSERT_ALL_VISIBLE_CLEARED
			w.Append(insert)
		case p < 72:
			w.Append(smgrCreateRecord(rel(), forkOf()))
		case p < 84:
			w.Append(smgrTruncateRecord(rel(), uint32(block()), uint32(rng.IntN(8))))
		case p < 90:
			w.Append(dropRecord([]uint8{xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared}[rng.IntN(4)], rel(), rel()))
		case p < 93:
			w.Append(dropDatabaseRecord(w.Options().Version, db(), []uint32{1663, 1664}[:1+rng.IntN(2)]...))
		case p < 98:
			to, toSpc, from, fromSpc := db(), spc(), db(), spc()
			if to != from || toSpc != fromSpc {
				w.Append(copyDatabaseRecord(to, toSpc, from, fromSpc))
			}
		case w.Options().Version >= wal.PG15:
			w.Append(waltest.Record{Rmgr: wal.RmgrDatabase, Info: 0x10, Main: words(db(), spc())})
		}
	}
}

// checkFilesAt compares sizes as of lsn, of all forks there can be, with the
// model.
func checkFilesAt(t *testing.T, s *Store, want files, lsn wal.LSN) {
	t.Helper()
	for spc := range wal.OID(2) {
		for db := range wal.OID(4) {
			for rel := range wal.OID(3) {
				for fork := range wal.ForkNumber(4) {
					r := wal.RelFileLocator{Spc: 1663 + spc, DB: 5 + db, Rel: 16384 + rel}
					got, at, err := s.RelSize(t.Context(), r, fork, lsn)
					n, ok := want[makeForkKey(r, fork)]
					if ok && (err != nil || got != n || at != lsn) || !ok && !errors.Is(err, ErrNotFound) {
						t.Fatalf("as of %s: fork %s of %s has %d blocks, %v; want %d, %v", lsn, fork, r, got, err, n, ok)
					}
				}
			}
		}
	}
	checkLists(t, s, want, lsn)
}

// checkLists compares the lists of forks and the sizes of databases as of lsn with
// the model.
func checkLists(t *testing.T, s *Store, want files, lsn wal.LSN) {
	t.Helper()
	keys := slices.SortedFunc(maps.Keys(want), compareForks)
	list := func(db *wal.OID) (got []RelFork) {
		at, err := s.EachFork(t.Context(), lsn, db, func(f RelFork) error {
			got = append(got, f)
			return nil
		})
		if err != nil || at != lsn {
			t.Fatalf("list as of %s: %s, %v", lsn, at, err)
		}
		return got
	}
	var all []RelFork
	for _, k := range keys {
		all = append(all, RelFork{Rel: k.locator(), Fork: k.fork(), Blocks: want[k]})
	}
	if got := list(nil); !slices.Equal(got, all) {
		t.Fatalf("as of %s there is %v, want %v", lsn, got, all)
	}
	for db := wal.OID(4); db < 10; db++ {
		var ofDB []RelFork
		bytes := uint64(0)
		for _, f := range all {
			if f.Rel.DB == db {
				ofDB = append(ofDB, f)
				bytes += uint64(f.Blocks) * wal.BlockSize
			}
		}
		if got := list(&db); !slices.Equal(got, ofDB) {
			t.Fatalf("as of %s there is %v in database %d, want %v", lsn, got, db, ofDB)
		}
		got, at, err := s.DbSize(t.Context(), db, lsn)
		if ofDB == nil && !errors.Is(err, ErrNotFound) || ofDB != nil && (err != nil || got != bytes || at != lsn) {
			t.Fatalf("as of %s database %d has %d bytes, %v; want %d", lsn, db, got, err, bytes)
		}
	}
}

// TestSizesModel compares sizes at every record of random WAL with the model,
// over commits, restarts and switches of timelines.
func TestSizesModel(t *testing.T) {
	for seed := range uint64(15) {
		version := wal.PG14 + wal.Version(seed%5)
		t.Run(fmt.Sprintf("seed=%d,version=%d", seed, version), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0x73697a65))
			w := waltest.New(waltest.Options{Version: version})
			randomFiles(rng, w, 150)
			fs := vfs.NewMem()
			s := openTest(t, fs, "/d")
			imported := importFiles(t, s, rng, w.Options().Start)
			for tli := wal.TimelineID(2); ; tli++ {
				fillOften(t, s, w, rng)
				if rng.IntN(2) == 0 {
					closeTest(t, s)
					s = openTest(t, fs, "/d")
				}
				model := maps.Clone(imported)
				checkFilesAt(t, s, model, w.Options().Start)
				for _, rec := range records(t, w) {
					model.apply(&rec)
					if rng.IntN(6) == 0 {
						checkFilesAt(t, s, model, rec.EndLSN)
					}
				}
				checkFilesAt(t, s, model, w.End())
				if len(imported) == 0 {
					sameStore(t, s, w)
				}
				if tli == 4 {
					break
				}
				recs := w.Records()
				lsn := recs[rng.IntN(len(recs))].End
				w = w.Branch(tli, lsn)
				if err := s.Rewind(t.Context(), tli, lsn); err != nil {
					t.Fatal(err)
				}
				randomFiles(rng, w, 100)
			}
			closeTest(t, s)
		})
	}
}

// importFiles begins every other store with files of a base backup, which it
// answers.
func importFiles(t *testing.T, s *Store, rng *rand.Rand, start wal.LSN) files {
	t.Helper()
	imported := files{}
	if rng.IntN(2) == 0 {
		return imported
	}
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, start); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		rel := wal.RelFileLocator{Spc: wal.OID(1663 + rng.IntN(2)), DB: wal.OID(5 + rng.IntN(4)), Rel: wal.OID(16384 + rng.IntN(3))}
		fork, blocks := wal.ForkNumber(rng.IntN(4)), wal.BlockNumber(rng.IntN(10))
		imported[makeForkKey(rel, fork)] = max(blocks, imported[makeForkKey(rel, fork)])
		if err := s.ImportFork(rel, fork, blocks); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(4) == 0 {
			if err := s.flushImport(nil); err != nil {
				t.Fatal(err)
			}
			s.sizes.forget()
		}
	}
	if err := s.EndImport(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	return imported
}

// fillOften is fillFrom with a commit every few records, and sizes that are
// forgotten.
func fillOften(t *testing.T, s *Store, w *waltest.Writer, rng *rand.Rand) {
	t.Helper()
	if s.New() {
		s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	}
	at := s.State().Position
	for _, rec := range records(t, w) {
		if rec.EndLSN <= at {
			continue
		}
		if err := s.Append(&rec); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(12) == 0 || rec.EndLSN == w.End() {
			if err := s.Commit(t.Context(), Progress{Position: rec.EndLSN, LastValid: rec.EndLSN}); err != nil {
				t.Fatal(err)
			}
			switch rng.IntN(3) {
			case 0:
				s.sizes.forget()
			case 1:
				s.sizes.known, s.sizes.before = s.sizes.before, s.sizes.known
				clear(s.sizes.known)
			}
		}
	}
}

// TestFSMBlocks counts the pages of a free space map in depth-first order: root,
// then its first child, then that one's leaves.
func TestFSMBlocks(t *testing.T) {
	const slots = 4069
	for _, c := range []struct{ heap, pages wal.BlockNumber }{
		{0, 2}, {1, 3}, {slots - 1, 3}, {slots, 3}, {slots + 1, 4}, {2 * slots, 4},
		{slots * slots, 2 + slots + 1}, {slots*slots + 1, 2 + slots + 2},
		{slots * (slots + 1), 2 + slots + 2},
	} {
		if got := fsmBlocks(c.heap); got != c.pages {
			t.Errorf("%d blocks: %d pages stay, want %d", c.heap, got, c.pages)
		}
	}
	for heap, want := range map[wal.BlockNumber]wal.BlockNumber{0: 0, 1: 1, 32672: 1, 32673: 2} {
		if got := mapBlocks(heap); got != want {
			t.Errorf("%d blocks: %d pages of the visibility map stay, want %d", heap, got, want)
		}
	}
}
