package pagestore

import (
	"math"
	"slices"

	"github.com/walplex/walplex/sdk/wal"
)

// maxSizes is how many forks' sizes are remembered before those that were not
// needed lately are forgotten, and read from the index again.
const maxSizes = 64 << 10

// noFork is the size of a fork that does not exist (InvalidBlockNumber of
// storage/block.h). It is on disk.
const noFork = wal.BlockNumber(math.MaxUint32)

// forkKey names a relation's fork, in a form that is hashed and sorted fast.
type forkKey struct {
	space uint64 // tablespace and database
	rel   uint64 // relation and fork
}

func makeSpace(spc, db wal.OID) uint64 { return uint64(spc)<<32 | uint64(db) }

func makeForkKey(rel wal.RelFileLocator, fork wal.ForkNumber) forkKey {
	return forkKey{space: makeSpace(rel.Spc, rel.DB), rel: uint64(rel.Rel)<<8 | uint64(fork)}
}

func (k forkKey) locator() wal.RelFileLocator {
	return wal.RelFileLocator{Spc: wal.OID(k.space >> 32), DB: wal.OID(uint32(k.space)), Rel: wal.OID(k.rel >> 8)}
}

func (k forkKey) fork() wal.ForkNumber { return wal.ForkNumber(uint8(k.rel)) }

// compareForks orders forks as their keys are ordered.
func compareForks(a, b forkKey) int {
	switch {
	case a.space != b.space:
		return order(a.space < b.space)
	case a.rel != b.rel:
		return order(a.rel < b.rel)
	}
	return 0
}

// put writes the key of the fork's size as of the end of a record.
func (k forkKey) put(b []byte, end wal.LSN) {
	b[0] = spaceSize
	be.PutUint64(b[1:], k.space)
	be.PutUint32(b[9:], uint32(k.rel>>8))
	b[13] = byte(k.rel)
	be.PutUint64(b[sizePrefixSize:], uint64(end))
}

// parseForkKey reads the fork of a key of sizes.
func parseForkKey(b []byte) forkKey {
	return forkKey{space: be.Uint64(b[1:]), rel: uint64(be.Uint32(b[9:]))<<8 | uint64(b[13])}
}

// sizeEntry is a key of the space of sizes.
type sizeEntry struct {
	fork   forkKey
	lsn    wal.LSN
	blocks wal.BlockNumber
}

// compareSizes orders entries as their keys are ordered. One record can make a
// fork longer more than once: the last word is the greatest.
func compareSizes(a, b sizeEntry) int {
	switch c := compareForks(a.fork, b.fork); {
	case c != 0:
		return c
	case a.lsn != b.lsn:
		return order(a.lsn < b.lsn)
	case a.blocks != b.blocks:
		return order(a.blocks < b.blocks)
	}
	return 0
}

// sizes remembers how long forks are after the last record that was appended.
// Whatever was appended since the last commit is in known: it is not in the
// index, from which all else can be read again.
type sizes struct {
	known  map[forkKey]wal.BlockNumber // noFork: it does not exist
	before map[forkKey]wal.BlockNumber // known of some time ago
	recent [recentSizes]recentSize     // some of known, found faster

	databases []databaseChange // since the last commit, in order
}

// recentSizes is how many forks are found without a look into a map: a power of 2.
const recentSizes = 256

type recentSize struct {
	fork   forkKey
	blocks wal.BlockNumber
	used   bool
}

// slot is where a fork is in recent, if it is there.
func (z *sizes) slot(k forkKey) *recentSize {
	h := (k.rel ^ k.space) * 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio
	return &z.recent[h>>56]
}

// databaseChange is a record that made or dropped a database in a tablespace.
type databaseChange struct {
	space  uint64 // tablespace and database
	kind   changeKind
	lsn    wal.LSN
	source uint64 // of databaseCopied: the tablespace and database whose files were copied
}

func makeDatabaseChange(c *change, lsn wal.LSN) databaseChange {
	return databaseChange{space: makeSpace(c.rel.Spc, c.rel.DB), kind: c.kind, lsn: lsn, source: makeSpace(c.from.spc, c.from.db)}
}

// forget is for when what was appended is gone.
func (z *sizes) forget() { *z = sizes{} }

// committed is for when what was appended is in the index.
func (z *sizes) committed() {
	z.databases = z.databases[:0]
	if len(z.known) > maxSizes {
		z.known, z.before = z.before, z.known
		z.recent = [recentSizes]recentSize{} // so that what is in use comes to known
		clear(z.known)
	}
}

func (z *sizes) set(k forkKey, n wal.BlockNumber) {
	if z.known == nil {
		z.known = make(map[forkKey]wal.BlockNumber)
	}
	z.known[k] = n
	*z.slot(k) = recentSize{fork: k, blocks: n, used: true}
}

// changeDatabase forgets the sizes of all that is in the database.
func (z *sizes) changeDatabase(d databaseChange) {
	ofDatabase := func(k forkKey) bool { return k.space == d.space }
	for _, m := range []map[forkKey]wal.BlockNumber{z.known, z.before} {
		for k := range m {
			if ofDatabase(k) {
				delete(m, k)
			}
		}
	}
	z.recent = [recentSizes]recentSize{}
	z.databases = append(z.databases, d)
}

// blocksOf is how long a fork is after the last record that was appended.
func (s *Store) blocksOf(k forkKey) (wal.BlockNumber, error) {
	z := &s.sizes
	if r := z.slot(k); r.used && r.fork == k {
		return r.blocks, nil
	}
	n, ok := z.known[k]
	if !ok {
		n, ok = z.before[k]
	}
	if !ok {
		var err error
		if n, err = s.appendedView().blocks(k, math.MaxUint64); err != nil {
			return 0, err
		}
	}
	z.set(k, n)
	return n, nil
}

// resize notes that a fork has n blocks from lsn on.
func (s *Store) resize(k forkKey, n wal.BlockNumber, lsn wal.LSN) {
	s.sizes.set(k, n)
	p := &s.pending
	if i := len(p.sizes) - 1; i >= 0 && p.sizes[i].fork == k && p.sizes[i].lsn == lsn {
		p.sizes[i].blocks = n
		return
	}
	p.sizes = append(p.sizes, sizeEntry{fork: k, lsn: lsn, blocks: n})
}

// noteSizes adds the keys of the forks that a record makes longer or shorter.
// Redo extends a fork up to the block that it needs (XLogReadBufferExtended).
func (s *Store) noteSizes(rec *wal.Record, changes []change) error {
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		if err := s.touch(makeForkKey(b.Rel, b.Fork), b.Block, rec.EndLSN); err != nil {
			return err
		}
	}
	if len(rec.Blocks) > 0 {
		for _, b := range s.implied { // note has found them
			if err := s.touch(makeForkKey(b.Rel, b.Fork), b.Block, rec.EndLSN); err != nil {
				return err
			}
		}
	}
	for i := range changes {
		if err := s.resizeBy(&changes[i], rec.EndLSN); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) touch(k forkKey, block wal.BlockNumber, lsn wal.LSN) error {
	n, err := s.blocksOf(k)
	if err != nil {
		return err
	}
	if block >= n || n == noFork {
		s.resize(k, min(block, noFork-2)+1, lsn)
	}
	return nil
}

// resizeBy notes what a change of a relation or a database does to sizes.
func (s *Store) resizeBy(c *change, lsn wal.LSN) error {
	switch c.kind {
	case relationCreated:
		return s.sizeMade(c, lsn)
	case relationCut:
		return s.sizeCut(c, lsn)
	case relationDropped:
		return s.sizeGone(c.rel, lsn, wal.MainFork, wal.FSMFork, wal.VisibilityMapFork, wal.InitFork)
	}
	s.sizes.changeDatabase(makeDatabaseChange(c, lsn))
	return nil
}

// sizeMade is for a fork that was made: it is empty, whatever had the file's
// name before. The maps are made without a record, and never before the main fork.
func (s *Store) sizeMade(c *change, lsn wal.LSN) error {
	for fork := wal.MainFork; fork <= wal.InitFork; fork++ {
		if c.forks&(1<<fork) != 0 {
			s.resize(makeForkKey(c.rel, fork), 0, lsn)
		}
	}
	if c.forks&(1<<wal.MainFork) == 0 {
		return nil
	}
	return s.sizeGone(c.rel, lsn, wal.FSMFork, wal.VisibilityMapFork)
}

func (s *Store) sizeGone(rel wal.RelFileLocator, lsn wal.LSN, forks ...wal.ForkNumber) error {
	for _, fork := range forks {
		k := makeForkKey(rel, fork)
		n, err := s.blocksOf(k)
		if err != nil {
			return err
		}
		if n != noFork {
			s.resize(k, noFork, lsn)
		}
	}
	return nil
}

// sizeCut is for a truncation, which says how many blocks of the main fork stay.
// The server had at least as many. The maps are cut where they are longer than
// what these blocks need, and exist at all (smgr_redo).
func (s *Store) sizeCut(c *change, lsn wal.LSN) error {
	main := makeForkKey(c.rel, wal.MainFork)
	if c.forks&(1<<wal.MainFork) != 0 {
		if n, err := s.blocksOf(main); err != nil {
			return err
		} else if stay := min(c.block, noFork-1); n != stay {
			s.resize(main, stay, lsn)
		}
	}
	if err := s.cutMap(c, wal.FSMFork, fsmBlocks(c.block), lsn); err != nil {
		return err
	}
	return s.cutMap(c, wal.VisibilityMapFork, mapBlocks(c.block), lsn)
}

func (s *Store) cutMap(c *change, fork wal.ForkNumber, stay wal.BlockNumber, lsn wal.LSN) error {
	if c.forks&(1<<fork) == 0 {
		return nil
	}
	k := makeForkKey(c.rel, fork)
	n, err := s.blocksOf(k)
	if err == nil && n != noFork && n > stay {
		s.resize(k, stay, lsn)
	}
	return err
}

// mapBlocks is how many pages of the visibility map stay with so many blocks of
// the heap (visibilitymap_prepare_truncate).
func mapBlocks(heap wal.BlockNumber) wal.BlockNumber {
	return heap/heapBlocksPerMapPage + min(heap%heapBlocksPerMapPage, 1)
}

// fsmSlots is SlotsPerFSMPage (storage/fsm_internals.h): the leaves of the tree
// of 8192 - 24 - 4 nodes of one byte on a page, of which 4095 are no leaves.
const fsmSlots = wal.BlockSize - 24 - 4 - (wal.BlockSize/2 - 1)

// fsmBlocks is how many pages of the free space map stay with so many blocks of
// the heap (FreeSpaceMapPrepareTruncateRel): those before the lowest page that
// has the first block's slot, and that page unless it is its first slot. The
// pages of the map are a tree of three levels, in depth-first order
// (fsm_logical_to_physical).
func fsmBlocks(heap wal.BlockNumber) wal.BlockNumber {
	leaf := heap / fsmSlots
	upper := leaf/fsmSlots + 1
	top := leaf/fsmSlots/fsmSlots + 1
	return leaf + upper + top + min(heap%fsmSlots, 1)
}

// fillSizes writes the sizes that are pending into the index's batch.
func (s *Store) fillSizes() error {
	list := s.pending.sizes
	slices.SortFunc(list, compareSizes)
	for i := range list {
		e := &list[i]
		if i+1 < len(list) && list[i+1].fork == e.fork && list[i+1].lsn == e.lsn {
			continue
		}
		op := s.ix.batch.SetDeferred(sizeKeySize, sizeValueSize)
		e.fork.put(op.Key, e.lsn)
		le.PutUint32(op.Value, uint32(e.blocks))
		if err := op.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// ImportFork notes that the fork has so many blocks where the base backup that
// is being imported begins, those without content among them. Where it is called
// for a fork more than once, as for each file of one that has several, the
// greatest number counts. It is for relations, not for pseudo relations.
func (s *Store) ImportFork(rel wal.RelFileLocator, fork wal.ForkNumber, blocks wal.BlockNumber) error {
	if err := s.mayImport(); err != nil {
		return err
	}
	k := makeForkKey(rel, fork)
	blocks = min(blocks, noFork-1)
	n, err := s.blocksOf(k)
	if err != nil || n != noFork && n >= blocks {
		return err
	}
	s.resize(k, blocks, s.state.Position)
	if s.pending.keys() < maxPendingKeys {
		return nil
	}
	s.images.mu.Lock()
	defer s.images.mu.Unlock()
	s.failed = s.flushImport(nil)
	return s.failed
}
