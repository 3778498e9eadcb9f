package stream

import (
	"context"
	"fmt"

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

// source reads a connection that is streaming, decodes the WAL, and lays it out.
type source struct {
	conn receiver
	asm  *wire.Assembler
	pool *pool
	mem  memory // in which the assembler builds
	out  chan<- arrival
	next wal.LSN
}

// newSource begins at start, a segment's start, on a connection that streams
// from there.
func newSource(conn receiver, sys replication.System, start wal.LSN, p *pool, out chan<- arrival) *source {
	reader := xlogreader.New(start, xlogreader.Options{
		SystemID: sys.SystemID, SegmentSize: sys.SegmentSize, Timeline: sys.Timeline, MaxWhole: wire.MaxWhole})
	return &source{conn: conn, asm: wire.NewAssembler(reader, sys.Timeline, start), pool: p, out: out, next: start}
}

// run reads until ctx ends or the stream does, which its last arrival tells.
func (s *source) run(ctx context.Context) {
	defer s.letGo()
	for {
		m, err := s.conn.Receive(ctx)
		if err != nil {
			s.send(ctx, arrival{err: err})
			return
		}
		a := arrival{serverEnd: m.ServerWALEnd, reply: m.ReplyRequested}
		// WAL that was kept back because more was coming does not wait for more WAL
		// when something else came.
		if m.Kind != replication.XLogData && !s.seal(ctx, m.ServerWALEnd, false) {
			return
		}
		switch m.Kind {
		case replication.End:
			a.ended = true
			s.send(ctx, a)
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

// take cuts what arrived into blocks. A block leaves when it is full or when the
// socket holds nothing more: no timer stands in the way of a commit.
func (s *source) take(ctx context.Context, m replication.Message) bool {
	if m.WALStart != s.next {
		s.send(ctx, arrival{err: fmt.Errorf("the server sent WAL from %s where %s was to follow", m.WALStart, s.next)})
		return false
	}
	s.next += wal.LSN(len(m.Data))
	micros := m.ServerTime.UnixMicro() - postgresEpochMicros
	for p := m.Data; len(p) > 0; {
		if s.asm.NeedsBuffer() {
			s.mem = s.pool.get()
			s.asm.SetBuffer(s.mem.bytes)
		}
		n, err := s.asm.Append(p, micros)
		p = p[n:]
		if err != nil {
			// The block that holds the fault is delivered to nobody.
			s.send(ctx, arrival{err: corrupt(err)})
			return false
		}
		if s.asm.Full() && !s.seal(ctx, m.ServerWALEnd, len(p) == 0 && s.conn.Drained()) {
			return false
		}
	}
	if s.asm.Empty() || !s.conn.Drained() {
		return true
	}
	return s.seal(ctx, m.ServerWALEnd, true)
}

// postgresEpochMicros is 2000-01-01 UTC in microseconds of Unix time.
const postgresEpochMicros = 946684800 * 1_000_000

func (s *source) seal(ctx context.Context, serverEnd wal.LSN, drained bool) bool {
	if s.asm.Empty() {
		return true
	}
	m := s.pool.built(s.mem, s.asm.Seal())
	s.mem = memory{}
	if len(m.bytes) <= smallBlock {
		small := append(make([]byte, 0, len(m.bytes)), m.bytes...)
		s.pool.put(m)
		m = memory{bytes: small}
	}
	b := &buffer{data: m.bytes, slot: m.slot, pool: s.pool}
	b.hold()
	view, err := wire.ParseBlock(b.data, false)
	if err != nil {
		b.release()
		s.send(ctx, arrival{err: err})
		return false
	}
	b.view = view
	if !s.send(ctx, arrival{block: b, records: view.Len(), drained: drained, serverEnd: serverEnd}) {
		b.release()
		return false
	}
	return true
}

// letGo gives back the memory of a block that was not completed.
func (s *source) letGo() {
	s.pool.put(s.mem)
	s.mem = memory{}
}

func (s *source) send(ctx context.Context, a arrival) bool {
	select {
	case s.out <- a:
		return true
	case <-ctx.Done():
		return false
	}
}
