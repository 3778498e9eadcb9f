package pagestore

import (
	"sync"
	"sync/atomic"

	"github.com/walplex/walplex/sdk/wal"
)

// Limits of the pages in memory.
const (
	// CacheBytes is how much memory they take unless [Options] say otherwise, in
	// bytes.
	CacheBytes = 64 << 20
	// pageShards is a number of locks.
	pageShards = 16
	// changedPages and changedRelations are how many numbers say when pages and
	// relations were changed last; those of the same hash share one.
	changedPages     = 1 << 18
	changedRelations = 1 << 12
)

// pages are pages that were read, in memory, and when pages were changed last: a
// page that was not changed since it was read is what it was.
type pages struct {
	shards [pageShards]pageShard

	// Ends of the last records that were committed and changed pages, and relations
	// as a whole, by hash; of any change of a database as a whole. They are stored
	// before readers see the records.
	page      []atomic.Uint64
	relation  []atomic.Uint64
	database  atomic.Uint64
	knownFrom wal.LSN // what was committed before is not in them
}

type pageShard struct {
	mu    sync.Mutex
	limit int // pages
	pages map[PageID]*heldPage
	lru   heldPage // ring: next is the page that was used last
}

// heldPage is a page as it is as of all LSNs from one to another.
type heldPage struct {
	prev, next *heldPage
	id         PageID
	from, to   wal.LSN
	answer     Answer // without At and Page
	page       [wal.BlockSize]byte
}

func newPages(bytes int64, knownFrom wal.LSN) *pages {
	p := &pages{page: make([]atomic.Uint64, changedPages), relation: make([]atomic.Uint64, changedRelations), knownFrom: knownFrom}
	for i := range p.shards {
		p.shards[i].limit = int(bytes / wal.BlockSize / pageShards)
	}
	p.clear()
	return p
}

// clear forgets all pages.
func (p *pages) clear() {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.pages = make(map[PageID]*heldPage)
		s.lru.prev, s.lru.next = &s.lru, &s.lru
		s.mu.Unlock()
	}
}

const hashFactor = 0x9E3779B97F4A7C15 // 2^64 by the golden ratio

func hashRelation(rel wal.RelFileLocator) uint64 {
	return ((uint64(rel.Rel)<<32 | uint64(rel.DB)) ^ uint64(rel.Spc)<<16) * hashFactor
}

func hashPage(id PageID) uint64 {
	h := hashRelation(id.Rel) ^ uint64(id.Block)<<8 ^ uint64(id.Fork)
	return (h ^ h>>32) * hashFactor
}

// top is so many of the upper bits of h as n, a power of two, has numbers.
func top(h uint64, n int) uint64 { return (h >> 32) & uint64(n-1) }

// noteCommitted is called when what is pending is in the index, and before
// readers see it. Pages are sorted.
func (p *pages) noteCommitted(c *pending) {
	for i := range c.pages {
		e := &c.pages[i]
		if i+1 < len(c.pages) {
			if n := &c.pages[i+1]; n.block == e.block && n.rel == e.rel && n.space == e.space {
				continue // it comes again
			}
		}
		raise(&p.page[top(hashPage(e.id()), changedPages)], e.lsn)
	}
	for i := range c.changes {
		e := &c.changes[i]
		if e.rel.Rel == 0 {
			raise(&p.database, e.lsn)
		} else {
			raise(&p.relation[top(hashRelation(e.rel), changedRelations)], e.lsn)
		}
	}
}

// raise makes an LSN that only one goroutine stores at least lsn.
func raise(at *atomic.Uint64, lsn wal.LSN) {
	if at.Load() < uint64(lsn) {
		at.Store(uint64(lsn))
	}
}

// relationSame reports that nothing happened to the relation or its database
// after lsn, as far as readers see.
func (p *pages) relationSame(rel wal.RelFileLocator, lsn wal.LSN) bool {
	return lsn >= p.knownFrom && p.database.Load() <= uint64(lsn) &&
		p.relation[top(hashRelation(rel), changedRelations)].Load() <= uint64(lsn)
}

// get makes page what it is as of lsn, if that is known, or, where the answer's At
// is another, what it was as of At, before lsn. from is since when it is that.
func (p *pages) get(id PageID, lsn wal.LSN, page []byte) (a Answer, from wal.LSN, ok bool) {
	h := hashPage(id)
	s := &p.shards[h>>60%pageShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.pages[id]
	if e == nil || lsn < e.from {
		return Answer{}, 0, false
	}
	if lsn > e.to && p.page[top(h, changedPages)].Load() <= uint64(e.to) && p.relationSame(id.Rel, e.to) {
		e.to = lsn
	}
	s.used(e)
	a = e.answer
	a.At, a.Page = min(lsn, e.to), page
	copy(page, e.page[:])
	return a, e.from, true
}

// put keeps the page as it is from an LSN to that of the answer.
func (p *pages) put(id PageID, from wal.LSN, a *Answer) {
	s := &p.shards[hashPage(id)>>60%pageShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.pages[id]
	if e != nil && e.to >= a.At {
		return
	}
	if e == nil {
		if e = s.room(); e == nil {
			return
		}
		e.id = id
		s.pages[id] = e
	}
	s.used(e)
	e.from, e.to, e.answer = from, a.At, *a
	e.answer.Page = nil
	copy(e.page[:], a.Page)
}

// room is a page that nobody has, the one that was not used for longest where
// there are enough.
func (s *pageShard) room() *heldPage {
	switch {
	case s.limit == 0:
		return nil
	case len(s.pages) < s.limit:
		e := &heldPage{}
		e.prev, e.next = e, e
		return e
	}
	e := s.lru.prev
	delete(s.pages, e.id)
	return e
}

// used moves the page to the front.
func (s *pageShard) used(e *heldPage) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = &s.lru, s.lru.next
	e.prev.next, e.next.prev = e, e
}
