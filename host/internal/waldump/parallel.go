package waldump

import (
	"context"
	"sync"

	"github.com/walplex/walplex/sdk/wal"
)

// How much WAL a goroutine reads at a time, in bytes; a smaller segment is a chunk.
const (
	chunkSize   = 4 << 20 // the text of two for each goroutine is kept
	countedSize = mapSize // where there is no text
)

// chunk is a part of the range that one goroutine reads.
type chunk struct {
	from, to wal.LSN
	first    wal.LSN // of the first record that begins behind from, 0 none
	c        *collected
	w        *walker // behind its last record; that which follows is pending
	done     chan struct{}
}

// chunks are handed out to the goroutines and, in their order, to whoever puts
// them together.
type chunks struct {
	d     *dump
	order chan *chunk // holds as many as may wait to be put together
	work  chan *chunk
	free  chan *collected
}

// parallel reads the range with several goroutines, and answers the walker that
// came to the end.
func (d *dump) parallel(ctx context.Context) *walker {
	working, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	p := &chunks{
		d:     d,
		order: make(chan *chunk, d.jobs),
		work:  make(chan *chunk),
		free:  make(chan *collected, 3*d.jobs),
	}
	for range d.jobs {
		wg.Go(func() { p.process(working) })
	}
	wg.Go(func() { p.cut(working) })
	last := p.join(ctx)
	cancel()
	for ch := range p.order { // those that nobody needs any more
		<-ch.done
		ch.w.close()
	}
	wg.Wait()
	if last == nil {
		last = d.walk(d.start)
	}
	if last.done {
		return last
	}
	return d.sequential(ctx, last)
}

// cut hands out the chunks of the range, up to its end or the last segment
// there is.
func (p *chunks) cut(ctx context.Context) {
	defer close(p.order)
	defer close(p.work)
	size := p.d.src.size
	step := wal.LSN(min(chunkSize, uint32(size)))
	if p.d.headersOnly() {
		step = wal.LSN(min(countedSize, uint32(size)))
	}
	var present wal.SegNo
	for from := p.d.start &^ (wal.PageSize - 1); p.d.end == 0 || from < p.d.end; {
		if segno := size.SegNo(from); segno != present {
			if requireSegment(p.d.src.dir, size.FileName(p.d.timeline, segno)) != nil {
				return
			}
			present = segno
		}
		to := from&^(step-1) + step
		ch := &chunk{from: from, to: to, done: make(chan struct{})}
		select {
		case p.order <- ch:
		case <-ctx.Done():
			return
		}
		p.work <- ch // there is always somebody to take it
		from = to
	}
}

// process reads chunks.
func (p *chunks) process(ctx context.Context) {
	for ch := range p.work {
		select {
		case ch.c = <-p.free:
		default:
			ch.c = new(collected)
		}
		ch.w = p.d.walk(ch.from)
		p.d.count(ch.w, ch.c)
		ch.w.each(ctx, ch.to, func(r *wal.Record) bool {
			if ch.first == 0 {
				ch.first = r.StartLSN
			}
			p.d.take(ch.c, r)
			return true
		})
		if ch.first == 0 && ch.w.pending {
			ch.first = ch.w.rec.StartLSN
		}
		close(ch.done)
	}
}

// join puts the chunks together, and answers the walker of the last one that
// counts, nil if there is none.
func (p *chunks) join(ctx context.Context) *walker {
	var at *walker // its pending record is the next one
	for ch := range p.order {
		<-ch.done
		switch {
		case at == nil || ch.first != 0 && ch.first == at.rec.StartLSN && ch.first < ch.to:
			// It began with the very record that comes next.
			if at != nil {
				at.close()
			}
			at = ch.w
			p.d.emit(ch.c)
		case at.rec.StartLSN >= ch.to:
			// No record begins here: it is all one record, or padding.
			ch.w.close()
			ch.c.reset()
		default:
			ch.w.close()
			ch.c.reset()
			p.d.count(at, ch.c)
			at.each(ctx, ch.to, func(r *wal.Record) bool {
				p.d.take(ch.c, r)
				return true
			})
			p.d.emit(ch.c)
		}
		select {
		case p.free <- ch.c:
		default:
		}
		if at.done || p.d.failed != nil {
			return at
		}
	}
	return at
}
