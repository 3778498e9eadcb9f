package sdk

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// withRing is the service of a sink that has inherited a ring.
func withRing(t *testing.T, sink Sink, o ...Option) (*server, *ring.Ring) {
	t.Helper()
	r, err := ring.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	fd, err := unix.Dup(int(r.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(Define("probe", func(*probeConfig) Sink { return sink }, o...), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.RingEnv, strconv.Itoa(fd))
	if s.openRing(); s.ring == nil || s.ring.Size() != r.Size() {
		t.Fatalf("the ring is not mapped: %v", s.ring)
	}
	return s, r
}

func openWith(t *testing.T, c wire.SinkClient, transports ...string) string {
	t.Helper()
	req := openRequest()
	req.Transports = transports
	r, err := c.Open(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return r.Transport
}

func (h host) ringBlock(offset uint64, length int) {
	h.t.Helper()
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Block{Block: &wire.Block{RingOffset: offset, RingLength: uint64(length)}}})
}

// Blocks come in the ring or in messages, in any order, to a sink of records and
// to one of raw WAL; each is released after its Write.
func TestRing(t *testing.T) {
	for name, o := range map[string]Option{"records": Records(), "raw WAL": RawWAL()} {
		t.Run(name, func(t *testing.T) {
			records := 0
			var raw []byte
			p := &probe{onWrite: func(_ context.Context, b *Batch) error {
				raw = append(raw, b.WAL()...)
				for range b.Records() {
					records++
				}
				return nil
			}}
			s, r := withRing(t, p, o)
			c := serveServer(t, s)
			if got := openWith(t, c, wire.TransportRing, wire.TransportGRPC); got != wire.TransportRing {
				t.Fatalf("the transport is %q", got)
			}
			w, list, ends := threeBlocks(t)
			for i := range list {
				if s.def.wal {
					v, err := wire.ParseBlock(list[i], false)
					if err != nil {
						t.Fatal(err)
					}
					list[i] = v.WALOnly()
				}
			}
			h := stream(t, within(t), c, w.Options().Start)
			h.ringBlock(r.Offset(3), len(append(r.Slot(3), list[0]...)))
			h.block(list[1])
			h.ringBlock(r.Offset(1), len(append(r.Slot(1), list[2]...)))
			h.progress(ends[2], 0, 0, 0, 3)
			h.closeSend()
			h.end()
			if s.def.records && records != len(w.Records()) || s.def.wal && !bytes.Equal(raw, w.Bytes()) {
				t.Errorf("%d of %d records, %d of %d bytes", records, len(w.Records()), len(raw), len(w.Bytes()))
			}
		})
	}
}

// A block that lies outside of the ring ends the stream, not the process.
func TestRingBounds(t *testing.T) {
	s, r := withRing(t, &probe{}, Records())
	c := serveServer(t, s)
	openWith(t, c, wire.TransportRing)
	h := stream(t, within(t), c, 0)
	h.ringBlock(uint64(r.Size())-10, 11)
	h.fault(wire.Fault_RETRYABLE, "outside of the shared ring")
}

// Without a ring, or without the host's offer, blocks come over gRPC.
func TestWithoutRing(t *testing.T) {
	s, _ := withRing(t, &probe{}, Records())
	if got := openWith(t, serveServer(t, s), wire.TransportGRPC); got != wire.TransportGRPC {
		t.Errorf("not offered: %q", got)
	}
	c := serve(t, &probe{}, Records())
	if got := openWith(t, c, wire.TransportRing, wire.TransportGRPC); got != wire.TransportGRPC {
		t.Errorf("not inherited: %q", got)
	}
	h := stream(t, within(t), c, 0)
	h.ringBlock(0, 96)
	h.fault(wire.Fault_RETRYABLE, "has not mapped")
	for name, value := range map[string]string{"nothing open": "1000000", "no number": "x"} {
		t.Setenv(wire.RingEnv, value)
		s := &server{log: slog.New(slog.DiscardHandler)}
		if s.openRing(); s.ring != nil {
			t.Errorf("%s is mapped", name)
		}
	}
}

// A sink of raw WAL that is sent a block without it is not given an empty one.
func TestSelectedBlocks(t *testing.T) {
	_, list, ends := threeBlocks(t)
	v, err := wire.ParseBlock(list[0], false)
	if err != nil {
		t.Fatal(err)
	}
	selected, err := wire.NewSelector(nil, func(r *wal.Record) bool { return r.EndLSN == ends[0] }).Block(&v, 0)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := NewBatcher(defined(Records()), v.WALStart()).Next(selected, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rec := range batch.Records() {
		if n++; rec.EndLSN != ends[0] {
			t.Errorf("the record to %s", rec.EndLSN)
		}
	}
	if n != 1 || batch.To() != ends[0] || batch.WALEnd() != v.WALEnd() {
		t.Errorf("%d records, batch to %s", n, batch.To())
	}
	for _, walOnly := range []*Definition{defined(RawWAL()), {wal: true, records: true}} {
		if _, err := NewBatcher(walOnly, v.WALStart()).Next(selected, 0, 0); err == nil {
			t.Error("taken as raw WAL")
		}
	}
}
