package stream

import (
	"sync"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// How blocks get to a sink.
//
//	trusted, no filter, ring mapped    its place in the ring; a block that lies
//	                                   elsewhere (small, outgrown, no slot free)
//	                                   in a message
//	trusted, no filter, no ring        the block in a message
//	filter, or untrusted; records      a block of its own records alone, without
//	                                   raw WAL, made for it, in a message
//	untrusted; raw WAL                 the raw WAL, which is all that it asked for,
//	                                   in a message
//	filter; raw WAL                    refused at Open: raw WAL cannot be filtered
//
// The ring holds everything: a sink that is not to see everything is not given
// its descriptor.

// maySeeAll reports whether the sink may read blocks as they are.
func (c *SinkConfig) maySeeAll() bool { return c.Filter == nil && !c.Untrusted }

// transports is what the sink is offered at Open, best first.
func (l *life) transports() []string {
	if l.shared {
		return []string{wire.TransportRing, wire.TransportGRPC}
	}
	return []string{wire.TransportGRPC}
}

// choose takes in what the sink has answered to Open.
func (l *life) choose(cfg *SinkConfig, res *wire.OpenResponse) error {
	sub := res.GetSubscription()
	if sub.GetWal() == sub.GetRecords() {
		return faultf("sink %q subscribes to raw WAL %t and records %t: it must be one of them", l.name, sub.GetWal(), sub.GetRecords())
	}
	l.wal = sub.GetWal()
	if l.wal && cfg.Filter != nil {
		return faultf("sink %q takes raw WAL, which holds all records, and cannot have a filter: remove filter, or use a sink of records", l.name)
	}
	if cfg.Untrusted && res.GetWishes().GetBaseBackup() {
		return faultf("sink %q wants a base backup, which shows all that the server has, and is not trusted: set trusted = true, or set the sink to begin without a backup", l.name)
	}
	switch t := res.Transport; {
	case t == "" || t == wire.TransportGRPC:
		l.transport = wire.TransportGRPC
	case t == wire.TransportRing && l.shared:
		l.transport = wire.TransportRing
	default:
		return faultf("sink %q chose the transport %q, which it was not offered. This is a fault of the sink's program", l.name, t)
	}
	if !l.wal && !cfg.maySeeAll() {
		l.filtered = cfg.Filter != nil
		l.selector = wire.NewSelector(sub.RmgrMask, l.matches)
		if l.filtered {
			l.filter.Store(&cfg.Filter)
		}
	}
	return nil
}

// setFilter swaps the filter of a sink that has one: the sender uses it from the
// next block on that it builds; a record in fragments that is under way stays
// what it was. It answers false where the sink must be opened again instead:
// where it was told at Open that it is filtered and is not any more, or the other
// way round.
func (l *life) setFilter(f Filter) bool {
	if f == nil || !l.filtered {
		return false
	}
	l.filter.Store(&f)
	return true
}

// matches is asked by the selector, in the sender.
func (l *life) matches(rec *wal.Record) bool { return l.using == nil || l.using.Match(rec) }

// selectRecords makes the block that the sink may see. It is the sender's.
func (l *life) selectRecords(o *outgoing) error {
	if f := l.filter.Load(); f != nil {
		l.use(*f)
	}
	data, err := l.selector.Block(&o.buffer.view, o.first)
	o.message.GetBlock().Data = data
	return err
}

// borrowed are the blocks that a sink was sent and has not given back yet, the
// oldest first: those that lie in the ring, and nil for each that came in a
// message. A slot of the ring is not used again before the sink has said that it
// is done with it, or is dead.
type borrowed struct {
	mu       sync.Mutex
	blocks   []*buffer // at most as many as the chain's limits let out
	released uint64    // how many the sink has given back since its start
	dead     bool
}

// add takes the next block that is sent.
func (q *borrowed) add(b *buffer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dead {
		return // it will not be sent either
	}
	if b != nil {
		b.hold()
	}
	q.blocks = append(q.blocks, b)
}

// giveBack releases the first n blocks since the start. A sink that gives back
// more than it was sent is the chain's to judge: here it has what there is.
func (q *borrowed) giveBack(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n <= q.released {
		return
	}
	k := int(min(n-q.released, uint64(len(q.blocks))))
	for _, b := range q.blocks[:k] {
		if b != nil {
			b.release()
		}
	}
	q.blocks = append(q.blocks[:0], q.blocks[k:]...)
	q.released += uint64(k)
}

// bury releases all blocks of a sink that is dead.
func (q *borrowed) bury() {
	q.giveBack(1<<64 - 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dead = true
}
