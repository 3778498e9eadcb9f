package stream

import (
	"context"
	"fmt"
	"slices"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

// arrival is what the source hands to the loop: a block, a keepalive, or its end.
type arrival struct {
	block     *buffer // nil: none
	records   int
	drained   bool // nothing more is there at this moment
	serverEnd wal.LSN
	reply     bool // the server wants a status at once
	ended     bool // the server has ended the stream
	err       error
}

// receiver is what the source needs of a connection.
type receiver interface {
	Receive(ctx context.Context) (replication.Message, error)
	Drained() bool
}

// intoReceiver is a receiver that can put WAL where it is to be.
type intoReceiver interface {
	ReceiveInto(ctx context.Context, p []byte) (replication.Message, error)
}

// source reads a connection that is streaming, decodes the WAL, and lays it out.
type source struct {
	conn receiver
	asm  *wire.Assembler
	raw  bool
	pool *pool
	mem  memory // in which the assembler builds
	out  chan<- arrival
	next wal.LSN
	full []arrival // complete blocks that wait for others, see burst
}

// burst is how many blocks leave together while more is coming. Each wakes the
// loop, and a sender and a process for every sink, which for a sink that is faster
// than the source costs several times what the block itself does.
const burst = 8

// newSource begins at start, a segment's start, on a connection that streams
// from there. raw: no sink takes records, see onlyRaw.
func newSource(conn receiver, sys replication.System, start wal.LSN, raw bool, p *pool, out chan<- arrival) *source {
	reader := xlogreader.New(start, xlogreader.Options{
		SystemID: sys.SystemID, SegmentSize: sys.SegmentSize, Timeline: sys.Timeline, MaxWhole: wire.MaxWhole})
	asm := wire.NewAssembler
	if raw {
		asm = wire.NewRawAssembler
	}
	return &source{conn: conn, asm: asm(reader, sys.Timeline, start), raw: raw, pool: p, out: out, next: start}
}

// run reads until ctx ends or the stream does, which its last arrival tells.
func (s *source) run(ctx context.Context) {
	defer s.letGo()
	for {
		m, err := s.receive(ctx)
		if err != nil {
			s.last(ctx, arrival{err: err})
			return
		}
		a := arrival{serverEnd: m.ServerWALEnd, reply: m.ReplyRequested}
		// WAL that was kept back because more was coming does not wait for more WAL
		// when something else came.
		if m.Kind != replication.XLogData && !(s.complete(ctx, m.ServerWALEnd, false) && s.handOver(ctx)) {
			return
		}
		switch m.Kind {
		case replication.End:
			a.ended = true
			s.last(ctx, a)
			return
		case replication.XLogData:
			if !s.take(ctx, m) {
				return
			}
		default:
			if !s.send(ctx, a) {
				return
			}
		}
	}
}

// receive receives WAL into the block that is being built, where the connection
// can.
func (s *source) receive(ctx context.Context) (replication.Message, error) {
	into, ok := s.conn.(intoReceiver)
	if !ok {
		return s.conn.Receive(ctx)
	}
	s.begin()
	return into.ReceiveInto(ctx, s.asm.Room())
}

// begin gives the assembler memory for a block, unless it has some.
func (s *source) begin() {
	if s.asm.NeedsBuffer() {
		s.mem = s.pool.get()
		s.asm.SetBuffer(s.mem.bytes)
	}
}

// take cuts what arrived into blocks. A block leaves when it is full or when the
// socket holds nothing more: no timer stands in the way of a commit.
func (s *source) take(ctx context.Context, m replication.Message) bool {
	if m.WALStart != s.next {
		s.last(ctx, arrival{err: fmt.Errorf("the server sent WAL from %s where %s was to follow", m.WALStart, s.next)})
		return false
	}
	s.next += wal.LSN(len(m.Data))
	micros := m.ServerTime.UnixMicro() - postgresEpochMicros
	for p := m.Data; len(p) > 0; {
		s.begin()
		n, err := s.asm.Append(p, micros)
		p = p[n:]
		if err != nil {
			// The block that holds the fault is delivered to nobody.
			s.last(ctx, arrival{err: corrupt(err)})
			return false
		}
		if s.asm.Full() && !s.complete(ctx, m.ServerWALEnd, len(p) == 0 && s.conn.Drained()) {
			return false
		}
	}
	if !s.conn.Drained() {
		return true
	}
	return s.complete(ctx, m.ServerWALEnd, true)
}

// postgresEpochMicros is 2000-01-01 UTC in microseconds of Unix time.
const postgresEpochMicros = 946684800 * 1_000_000

// complete seals the block and hands it over, unless others are to leave with it.
func (s *source) complete(ctx context.Context, serverEnd wal.LSN, drained bool) bool {
	if err := s.seal(serverEnd, drained); err != nil {
		s.last(ctx, arrival{err: err})
		return false
	}
	return !drained && len(s.full) < burst || s.handOver(ctx)
}

// seal completes the block that is being built, if any.
func (s *source) seal(serverEnd wal.LSN, drained bool) error {
	if s.asm.Empty() {
		return nil
	}
	records := s.asm.Records()
	b, err := sealBlock(s.asm, s.raw, s.pool, s.mem)
	s.mem = memory{}
	if err != nil {
		return err
	}
	s.full = append(s.full, arrival{block: b, records: records, drained: drained, serverEnd: serverEnd})
	return nil
}

// handOver gives the loop the blocks that wait.
func (s *source) handOver(ctx context.Context) bool {
	for len(s.full) > 0 {
		if !s.send(ctx, s.full[0]) {
			return false
		}
		s.full = slices.Delete(s.full, 0, 1)
	}
	return true
}

// last sends the last arrival, behind all blocks.
func (s *source) last(ctx context.Context, a arrival) {
	if s.handOver(ctx) {
		s.send(ctx, a)
	}
}

// letGo gives back the memory of blocks that were not handed over.
func (s *source) letGo() {
	s.pool.put(s.mem)
	s.mem = memory{}
	for _, a := range s.full {
		a.block.release()
	}
	s.full = nil
}

func (s *source) send(ctx context.Context, a arrival) bool {
	select {
	case s.out <- a:
		return true
	case <-ctx.Done():
		return false
	}
}
