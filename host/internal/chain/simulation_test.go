package chain_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wal"
)

var (
	simSeed  = flag.Uint64("seed", 0, "run the simulation with this seed alone")
	simSteps = flag.Int("steps", 50_000, "steps of each simulation")
)

// TestSimulation lets a chain live among sinks that are slow, crash, and come
// back, and a source that breaks off, and checks the contract at every step.
func TestSimulation(t *testing.T) {
	seeds := []uint64{*simSeed}
	if *simSeed == 0 {
		seeds = seeds[:0]
		for i := range uint64(8) {
			seeds = append(seeds, 1+i*7919)
		}
	}
	var total world
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(seed)
			for step := range *simSteps {
				if err := w.step(); err != nil {
					t.Fatalf("step %d: %v\nagain with: go test ./host/internal/chain -run Simulation -seed %d\nlast steps:\n%s", step, err, seed, w.history())
				}
			}
			if err := w.settle(); err != nil {
				t.Fatalf("at the end: %v\nagain with: go test ./host/internal/chain -run Simulation -seed %d\nlast steps:\n%s", err, seed, w.history())
			}
			total.crashes, total.rewinds, total.delivered, total.halves = total.crashes+w.crashes, total.rewinds+w.rewinds, total.delivered+w.delivered, total.halves+w.halves
			total.asides, total.joined, total.left, total.reloads = total.asides+w.asides, total.joined+w.joined, total.left+w.left, total.reloads+w.reloads
		})
	}
	if n := total; *simSeed == 0 && (n.crashes == 0 || n.rewinds == 0 || n.delivered == 0 || n.halves == 0 || n.asides == 0 || n.joined == 0 || n.left == 0 || n.reloads == 0) {
		t.Fatalf("the simulation has not exercised the chain: %d crashes, %d rewinds, %d deliveries, %d blocks that end inside a record, "+
			"%d times aside, %d times live again, %d times left behind, %d reloads", n.crashes, n.rewinds, n.delivered, n.halves, n.asides, n.joined, n.left, n.reloads)
	}
}

const simSegment = wal.SegmentSize(1 << 20)

// world is everything around the chain.
type world struct {
	rng   *rand.Rand
	c     *chain.Chain
	ends  []wal.LSN // record ends, ascending; each record starts at the end before
	first wal.LSN
	at    wal.LSN // where the source is
	sinks []*simSink
	held  map[chain.BlockID]simBlock
	kept  wal.LSN // the server's restart_lsn
	lines []string

	start wal.LSN // where the source began: of a record that began before, nothing is seen

	crashes, rewinds, delivered, halves    int
	asides, joined, left, reloads, feeding int
}

// simSink is a sink with its queue, its memory and its disk.
type simSink struct {
	chain.Sink
	id      chain.SinkID
	up      bool
	queue   []simMessage
	written wal.LSN // raw: bytes; records: the last record's end, or further where none is cut
	sent    wal.LSN // end of WAL that it was handed
	durable wal.LSN // on disk
	lastRec wal.LSN // end of the last record that it was handed
	begin   wal.LSN
	aside   bool
	removed bool
	again   bool // the source was restarted since the last delivery
	isNew   bool
	p       chain.Progress
}

// simBlock is a block and whose it is.
type simBlock struct {
	chain.Block
	aside bool    // of one sink that is aside
	start wal.LSN // where its source began
}

type simMessage struct {
	block  *simBlock
	action chain.Action
	flush  uint64
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 0)), held: map[chain.BlockID]simBlock{}}
	w.first = wal.LSN(5 << 20)
	for at := w.first; at < w.first+512<<20; {
		n := 32 + w.rng.Uint64N(400)
		switch w.rng.IntN(200) {
		case 0:
			n = w.rng.Uint64N(3 << 20) // larger than a segment
		case 1, 2, 3, 4:
			n = w.rng.Uint64N(40 << 10)
		}
		at = (at + wal.LSN(n) + 8).AlignUp()
		w.ends = append(w.ends, at)
	}
	shapes := []chain.Sink{
		{Name: "archive", Required: true},
		{Name: "pages", Required: true, Records: true, Applied: true, After: []chain.SinkID{0}},
		{Name: "trail", Records: true},
		{Name: "copy", Required: w.rng.IntN(2) == 0},
	}
	w.c = chain.New(shapes, simSegment, true, chain.Limits{Credit: 256 << 10, Blocks: 64, Held: 512 << 10})
	w.kept = w.first
	w.c.SetRestartLSN(w.kept)
	for i, s := range shapes {
		w.sinks = append(w.sinks, &simSink{Sink: s, id: chain.SinkID(i), durable: w.first, begin: w.first, isNew: true})
	}
	w.at = w.first
	for _, s := range w.sinks {
		w.attach(s)
	}
	w.restart()
	return w
}

func (w *world) note(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
	if len(w.lines) > 40 {
		w.lines = w.lines[1:]
	}
}

func (w *world) history() string {
	var s string
	for _, l := range w.lines {
		s += "  " + l + "\n"
	}
	return s
}

// recordStart is the start of the record that holds the byte before lsn or
// begins at lsn: lsn itself at a record's end.
func (w *world) recordsEnd(lsn wal.LSN) wal.LSN {
	i := sort.Search(len(w.ends), func(i int) bool { return w.ends[i] > lsn })
	if i == 0 {
		return w.first
	}
	return w.ends[i-1]
}

func (w *world) step() error {
	s := w.sinks[w.rng.IntN(len(w.sinks))]
	for s.removed {
		s = w.sinks[w.rng.IntN(len(w.sinks))]
	}
	switch n := w.rng.IntN(1000); {
	case n < 400:
		w.receive()
	case n < 900:
		if err := w.work(s); err != nil {
			return err
		}
	case n < 950:
		w.c.SetIdle()
		w.note("idle")
	case n < 955 && s.up:
		w.crash(s)
	case n < 990 && !s.up && !s.removed:
		w.attach(s)
	case n < 993:
		w.note("source restarted")
		w.restart()
	case n < 996 && s.up && !s.aside:
		w.goAside(s)
	case n < 997:
		w.reload()
	}
	w.unblock()
	for _, s := range w.sinks {
		if err := w.feed(s); err != nil {
			return err
		}
	}
	if w.c.MustRewind() {
		w.rewinds++
		w.restart()
	}
	return w.act()
}

// receive makes the next block.
func (w *world) receive() {
	if !w.c.CanReceive() {
		return
	}
	n := wal.LSN(w.rng.Uint64N(64<<10) + 1)
	if end := w.recordsEnd(w.at + n); w.rng.IntN(2) == 0 && end > w.at {
		n = end - w.at // ends with a record, as when the server is idle
	}
	if w.at+n > w.ends[len(w.ends)-1] {
		return
	}
	b := chain.Block{Start: w.at, End: w.at + n, Size: int64(n) + 100}
	b.RecordsEnd = w.recordsEnd(b.End)
	if b.RecordsEnd < b.End {
		w.halves++
	}
	id, err := w.c.Add(b)
	if err != nil {
		panic(err)
	}
	b.ID = id
	w.held[id] = simBlock{Block: b, start: w.start}
	w.at = b.End
	w.note("block %d from %s to %s, records to %s", id, b.Start, b.End, b.RecordsEnd)
}

func (w *world) crash(s *simSink) {
	w.crashes++
	w.note("%s crashes: written %s, durable %s", s.Name, s.written, s.durable)
	s.up, s.queue, s.aside = false, nil, false
	w.c.Detach(s.id)
}

// goAside is what the stream does with a sink that lags: it is served from what
// the archive has flushed, or from the server.
func (w *world) goAside(s *simSink) {
	source := chain.NoSink
	if s.id != 0 && w.sinks[0].up && w.rng.IntN(2) == 0 {
		source = 0
	}
	w.asides++
	w.note("%s goes aside, served from sink %d", s.Name, source)
	s.aside, s.again = true, s.Records
	w.c.Aside(s.id, source)
}

// unblock is what the stream does when it can take no more WAL.
func (w *world) unblock() {
	id, ok := w.c.Blocking()
	if !ok || w.c.CanReceive() {
		return
	}
	if s := w.sinks[id]; s.aside {
		w.left++
		w.note("%s is left behind", s.Name)
		w.c.LeaveBehind(id)
	}
}

// feed offers a sink that is aside its next block.
func (w *world) feed(s *simSink) error {
	if !s.up || !s.aside || !w.c.CanOffer(s.id) || w.rng.IntN(4) == 0 {
		return nil
	}
	_, to := w.c.FeedFrom(s.id)
	sent := w.c.Positions(s.id).Sent
	if to <= sent {
		if w.rng.IntN(50) == 0 {
			w.c.SetSource(s.id, chain.NoSink) // the archive is of no help
			s.again = s.Records
		}
		return nil
	}
	from := sent
	if w.rng.IntN(3) == 0 { // a source that begins anew has WAL from before
		from = max(w.first, sent-wal.LSN(w.rng.Uint64N(32<<10)))
	}
	b := chain.Block{Start: from, End: min(to, sent+wal.LSN(w.rng.Uint64N(64<<10)+1))}
	b.RecordsEnd, b.Size = w.recordsEnd(b.End), int64(b.End-b.Start)+100
	id, err := w.c.Offer(s.id, b)
	if err != nil {
		return err
	}
	b.ID = id
	w.held[id] = simBlock{Block: b, aside: true, start: w.first}
	w.feeding++
	w.note("block %d from %s to %s is offered to %s, limit %s", id, b.Start, b.End, s.Name, to)
	return nil
}

// reload adds a sink, removes one, or changes what one is to PostgreSQL.
func (w *world) reload() {
	w.reloads++
	last := w.sinks[len(w.sinks)-1]
	copied := w.sinks[3]
	switch w.rng.IntN(3) {
	case 0:
		if last.Name == "late" && !last.removed {
			w.note("late is removed")
			last.up, last.queue, last.aside, last.removed = false, nil, false, true
			w.c.RemoveSink(last.id)
			return
		}
		s := &simSink{Sink: chain.Sink{Name: "late", Records: true}, durable: w.recordsEnd(w.at)}
		s.begin = s.durable
		if s.id = w.c.AddSink(s.Sink); int(s.id) < len(w.sinks) {
			w.sinks[s.id] = s
		} else {
			w.sinks = append(w.sinks, s)
		}
		w.attach(s)
	case 1:
		if copied.Required || simSegment.SegNo(copied.durable) >= simSegment.SegNo(w.kept) {
			copied.Required = !copied.Required
			w.note("copy is required: %t", copied.Required)
			w.c.Change(copied.id, copied.Required, copied.After)
		}
	case 2:
		copied.After = nil
		if w.rng.IntN(2) == 0 {
			copied.After = []chain.SinkID{0}
		}
		w.note("copy is after %v", copied.After)
		w.c.Change(copied.id, copied.Required, copied.After)
	}
}

func (w *world) attach(s *simSink) {
	at := s.durable
	if s.Records {
		at = w.recordsEnd(at)
		s.durable = at
	}
	isNew := s.isNew && at == w.first
	s.up, s.written, s.sent, s.lastRec, s.p, s.aside = true, at, at, at, chain.Progress{Applied: at}, false
	w.c.Attach(s.id, at, isNew)
	w.note("%s attached at %s", s.Name, at)
}

// restart reads the source from the start of the segment where it is needed.
func (w *world) restart() {
	lsn, ok := w.c.ResumeLSN()
	if !ok {
		lsn = w.at
	}
	w.at = simSegment.Start(lsn)
	w.start = w.at
	w.c.Restart(w.at)
	for id, b := range w.held {
		if !b.aside {
			delete(w.held, id)
		}
	}
	for _, s := range w.sinks {
		s.again = s.again || !s.aside
	}
	w.note("source reads from %s", w.at)
}

// work lets a sink take one message.
func (w *world) work(s *simSink) error {
	if !s.up || len(s.queue) == 0 {
		return nil
	}
	m := s.queue[0]
	s.queue = s.queue[1:]
	if m.block != nil {
		s.written = max(s.written, m.block.End)
		if s.Records {
			s.written = max(s.p.Written, s.begin, m.block.RecordsEnd)
		}
		s.p.Written = s.written
		s.p.ReleasedBlocks++
	} else {
		s.durable = s.written
		s.p.Flushed, s.p.FlushNumber = s.written, m.flush
	}
	if s.Applied && w.rng.IntN(3) > 0 {
		s.p.Applied = s.written
	}
	if err := w.c.Progress(s.id, s.p); err != nil {
		return fmt.Errorf("an honest sink is refused: %w", err)
	}
	return nil
}

// act does what the chain says, and checks it.
func (w *world) act() error {
	for _, a := range w.c.Next(nil) {
		switch a.Kind {
		case chain.Deliver:
			b, ok := w.held[a.Block]
			if !ok {
				return fmt.Errorf("block %d is delivered after its release", a.Block)
			}
			if err := w.deliver(w.sinks[a.Sink], b, a); err != nil {
				return err
			}
		case chain.Flush:
			s := w.sinks[a.Sink]
			s.queue = append(s.queue, simMessage{flush: a.Number})
		case chain.Release:
			delete(w.held, a.Block)
		case chain.Live:
			s := w.sinks[a.Sink]
			if !s.aside {
				return fmt.Errorf("%s is live again, and was never aside", s.Name)
			}
			w.joined++
			s.again = s.again || w.at < s.sent
			w.note("%s is live again at %s", s.Name, s.sent)
			s.aside = false
		case chain.Feed:
			w.note("%s may be served up to %s", w.sinks[a.Sink].Name, a.Limit)
		}
	}
	return w.check()
}

func (w *world) deliver(s *simSink, b simBlock, a chain.Action) error {
	w.delivered++
	w.note("block %d to %s: WAL from %s, records after %s", a.Block, s.Name, a.WALFrom, a.RecordsFrom)
	if !s.up {
		return fmt.Errorf("%s is down and is sent block %d", s.Name, a.Block)
	}
	if b.aside != s.aside {
		return fmt.Errorf("%s is sent block %d: of the live stream %t, aside %t", s.Name, a.Block, !b.aside, s.aside)
	}
	if a.WALFrom > s.sent || a.WALFrom < s.sent && !s.Records {
		return fmt.Errorf("%s was sent WAL up to %s and now from %s", s.Name, s.sent, a.WALFrom)
	}
	for _, id := range s.After {
		if o := w.sinks[id]; o.durable < b.End {
			return fmt.Errorf("%s sees WAL up to %s, but %s has made durable only %s", s.Name, b.End, o.Name, o.durable)
		}
	}
	if s.again && s.Records && a.WALFrom > s.lastRec {
		return fmt.Errorf("%s had a record from %s incomplete when the source was restarted, and is sent WAL only from %s", s.Name, s.lastRec, a.WALFrom)
	}
	s.sent, s.again = b.End, false
	if s.Records {
		if err := w.deliverRecords(s, b, a); err != nil {
			return err
		}
	}
	s.queue = append(s.queue, simMessage{block: &b, action: a})
	return nil
}

// deliverRecords hands over the records that end in the block, as the host does.
func (w *world) deliverRecords(s *simSink, b simBlock, a chain.Action) error {
	i := sort.Search(len(w.ends), func(i int) bool { return w.ends[i] > b.Start })
	for ; i < len(w.ends) && w.ends[i] <= b.End; i++ {
		start, end := w.first, w.ends[i]
		if i > 0 {
			start = w.ends[i-1]
		}
		if end <= a.RecordsFrom || start < a.Begin || start < b.start {
			continue
		}
		if start != s.lastRec {
			return fmt.Errorf("%s was handed records up to %s and now the one from %s to %s", s.Name, s.lastRec, start, end)
		}
		s.lastRec = end
	}
	return nil
}

// check holds what PostgreSQL is told against the sinks' disks.
func (w *world) check() error {
	f := w.c.Feedback()
	for _, s := range w.sinks {
		if !s.Required {
			continue
		}
		// A sink of records holds all that it can of the WAL up to the flush position.
		if f.Flush != 0 && w.recordsEnd(f.Flush) > s.durable {
			return fmt.Errorf("flush %s is reported, but %s has made durable only %s", f.Flush, s.Name, s.durable)
		}
		if !s.Records && f.Flush > s.durable {
			return fmt.Errorf("flush %s is reported, but %s has made durable only %s", f.Flush, s.Name, s.durable)
		}
		if s.up && f.Flush > s.sent || f.Apply > f.Flush {
			return fmt.Errorf("flush %s and apply %s are reported, but %s was sent only %s", f.Flush, f.Apply, s.Name, s.sent)
		}
		if s.Applied && f.Apply > s.p.Applied && w.recordsEnd(f.Apply) > s.p.Applied {
			return fmt.Errorf("apply %s is reported, but %s has applied only %s", f.Apply, s.Name, s.p.Applied)
		}
	}
	if f.Flush != 0 {
		if f.Flush < w.kept {
			return fmt.Errorf("flush %s would move restart_lsn back from %s", f.Flush, w.kept)
		}
		w.kept = f.Flush
	}
	for _, s := range w.sinks {
		need := s.durable
		if s.Records {
			need = w.recordsEnd(need)
		}
		if s.Required && simSegment.SegNo(need) < simSegment.SegNo(w.kept) {
			return fmt.Errorf("%s would need WAL from %s after a crash, but the server keeps it only from %s", s.Name, need, w.kept)
		}
	}
	for id := range w.sinks {
		if p := w.c.Positions(chain.SinkID(id)); p.InFlight > 256<<10 {
			return fmt.Errorf("%s has %d bytes in flight", w.sinks[id].Name, p.InFlight)
		}
	}
	return nil
}

// settle lets everything come to rest: all sinks up, all WAL received flushed.
func (w *world) settle() error {
	for _, s := range w.sinks {
		if !s.up && !s.removed {
			w.attach(s)
		}
	}
	end := w.at
	for _, s := range w.sinks {
		if !s.removed {
			end = max(end, s.sent)
		}
	}
	end = w.recordsEnd(end + 2<<20)
	for range 100_000 {
		if w.c.MustRewind() {
			w.restart()
		}
		if w.at < end {
			w.receive()
		} else {
			w.c.SetIdle()
		}
		w.unblock()
		for _, s := range w.sinks {
			if err := errors.Join(w.work(s), w.feed(s)); err != nil {
				return err
			}
		}
		if err := w.act(); err != nil {
			return err
		}
		if w.at >= end && w.c.AllFlushed() && !slices.ContainsFunc(w.sinks, func(s *simSink) bool { return s.aside }) {
			for _, s := range w.sinks {
				if !s.removed && s.durable < w.recordsEnd(w.at) {
					return fmt.Errorf("all is flushed, says the chain, but %s has only %s of %s", s.Name, s.durable, w.at)
				}
			}
			return nil
		}
	}
	var all strings.Builder
	for _, s := range w.sinks {
		fmt.Fprintf(&all, "\n  %s: aside %t, durable %s, %+v", s.Name, s.aside, s.durable, w.c.Positions(s.id))
	}
	return fmt.Errorf("no rest is found: received %s of %s, feedback %+v%s", w.at, end, w.c.Feedback(), all.String())
}
