package waldump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

const (
	// flushSize is how much text is written at once, in bytes.
	flushSize = 256 << 10
	// followInterval is how long the end of WAL is left alone.
	followInterval = time.Second
)

// collected is what the records of a range came to.
type collected struct {
	first wal.LSN // of the first record at or behind the start, 0 none
	text  []byte
	stats statistics
	shown int
}

func (c *collected) reset() {
	c.first, c.shown = 0, 0
	c.text = c.text[:0]
	c.stats = statistics{}
}

// dump is one run over one range.
type dump struct {
	options
	src     source // never opened: each walker has its own copy
	words   wording
	printer *printer
	out     io.Writer
	info    io.Writer // for what is said of skipped bytes
	program string
	total   collected
	images  *imageSaver // or nil
	failed  error       // of writing
}

// walk starts to read at lsn's page.
func (d *dump) walk(lsn wal.LSN) *walker {
	end := d.end
	if end == 0 {
		end = unbounded
	}
	return newWalker(d.src, lsn&^(wal.PageSize-1), end, d.headersOnly())
}

// headersOnly reports whether take needs no bytes of the records.
func (d *dump) headersOnly() bool { return (d.stats || d.quiet) && d.images == nil }

// take adds one record to c.
func (d *dump) take(c *collected, r *wal.Record) {
	if r.StartLSN < d.start {
		return
	}
	if c.first == 0 {
		c.first = r.StartLSN
	}
	if !d.filter.shows(r) {
		return
	}
	switch {
	case d.quiet:
	case d.stats:
		c.stats.add(r)
	case d.json:
		c.text = d.printer.appendJSON(c.text, r)
	default:
		c.text = d.printer.appendRecord(c.text, r)
	}
	c.shown++
}

// emit writes what was collected behind all that was emitted before.
func (d *dump) emit(c *collected) {
	if d.total.first == 0 && c.first != 0 {
		d.total.first = c.first
		d.saySkipped()
	}
	d.total.shown += c.shown
	if d.stats {
		d.total.stats.merge(&c.stats)
	}
	if len(c.text) > 0 && d.failed == nil {
		_, d.failed = d.out.Write(c.text)
	}
	c.reset()
}

// saySkipped says how many bytes lie before the first record, unless a segment
// begins with them.
func (d *dump) saySkipped() {
	d.total.stats.start = d.total.first
	skipped := uint32(d.total.first - d.start)
	if skipped == 0 || d.src.size.Offset(d.start) == 0 {
		return
	}
	bytes := "bytes"
	if skipped == 1 {
		bytes = "byte"
	}
	text := fmt.Sprintf("first record is after %s, at %s, skipping over %d %s\n", d.start, d.total.first, skipped, bytes)
	if d.words.skipOnStdout {
		fmt.Fprint(d.out, text)
		return
	}
	fmt.Fprintf(d.info, "%s: %s", d.program, text)
}

// sequential reads with one walker, on from where it is, until there is no more
// to read or to show. It answers the last walker.
func (d *dump) sequential(ctx context.Context, w *walker) *walker {
	c := &collected{text: make([]byte, 0, flushSize+flushSize/4)}
	enough := false
	for {
		d.count(w, c)
		w.each(ctx, unbounded, func(r *wal.Record) bool {
			shown := c.shown
			d.take(c, r)
			if c.shown > shown && d.images != nil {
				if err := d.images.save(r, d.timeline); err != nil {
					w.finish(err)
					return false
				}
			}
			if len(c.text) >= flushSize {
				d.emit(c)
			}
			enough = d.limit > 0 && d.total.shown+c.shown >= d.limit
			return !enough && d.failed == nil
		})
		d.emit(c)
		var isFatal *fatal
		if enough || d.failed != nil || !d.follow || d.total.first == 0 || w.err == nil || errors.As(w.err, &isFatal) || !wait(ctx, followInterval) {
			return w
		}
		w = d.again(w)
	}
}

// again starts anew behind the last record that the walker read.
func (d *dump) again(w *walker) *walker {
	d.start = max(d.start, w.lastEnd)
	w.close()
	return d.walk(d.start)
}

// checkSegment checks the first page of the segment in which the start lies,
// as the server does before it reads any other page of it.
func (d *dump) checkSegment(ctx context.Context) error {
	page := d.start &^ (wal.PageSize - 1)
	if d.end != 0 && page >= d.end {
		return nil
	}
	src := d.src
	defer src.close()
	first := src.size.Start(page)
	b, err := src.at(ctx, first, first+wal.PageSize)
	if err != nil {
		return err
	}
	if first == 0 {
		return nil // no cluster has this segment, and the reader says so
	}
	r := xlogreader.New(first, xlogreader.Options{SegmentSize: src.size})
	r.Feed(b)
	var rec wal.Record
	_, err = r.Next(&rec)
	var wrong *wal.Error
	if errors.As(err, &wrong) && wrong.LSN == first {
		return err
	}
	return nil
}

// run reads the range and answers the error with which pg_waldump would end.
func (d *dump) run(ctx context.Context) error {
	if err := d.checkSegment(ctx); err != nil {
		return d.noRecord(err)
	}
	var w *walker
	if d.jobs > 1 && !d.follow && d.limit <= 0 && d.images == nil {
		w = d.parallel(ctx)
	} else {
		w = d.sequential(ctx, d.walk(d.start))
	}
	defer w.close()
	var isFatal *fatal
	switch {
	case d.failed != nil:
		return fatalf("could not write to stdout: %s", strerror(d.failed))
	case errors.As(w.err, &isFatal):
		return w.err
	case d.total.first == 0 && ctx.Err() == nil:
		return d.noRecord(w.err)
	}
	if d.stats && !d.quiet {
		d.printStats()
	}
	if w.err == nil || ctx.Err() != nil || !w.done {
		return nil
	}
	return fatalf("error in WAL record at %s: %s", w.lastStart, d.words.reason(w.err, d.timeline, d.src.size))
}

func (d *dump) printStats() {
	d.total.stats.version = d.words.version
	if d.json {
		d.total.stats.printJSON(d.out, d.statsPerRecord)
	} else {
		d.total.stats.print(d.out, d.statsPerRecord)
	}
}

// noRecord is the error where nothing could be read. pg_waldump gives no reason;
// we add it where the magic number says that the version is not supported.
func (d *dump) noRecord(err error) error {
	var isFatal *fatal
	if errors.As(err, &isFatal) {
		return err
	}
	if err != nil && d.src.version == 0 {
		return fatalf("could not find a valid record after %s: %s", d.start, d.words.reason(err, d.timeline, d.src.size))
	}
	return fatalf("could not find a valid record after %s", d.start)
}
