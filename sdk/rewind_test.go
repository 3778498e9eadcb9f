package sdk

import (
	"context"
	"reflect"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// follower follows switches of timelines, and keeps what others need.
type follower struct {
	*probe
	epochs   []Epoch
	retained []wal.Position
}

func (f *follower) Rewind(_ context.Context, e *Epoch) (wal.LSN, error) {
	f.call("rewind")
	f.epochs = append(f.epochs, *e)
	return e.SwitchLSN - 0x10, nil
}

func (f *follower) Retain(_ context.Context, from wal.Position) error {
	f.call("retain")
	f.retained = append(f.retained, from)
	return nil
}

// TestRewind: the sink is told of the switch after what came before it, and what
// comes next begins at its answer.
func TestRewind(t *testing.T) {
	f := &follower{probe: &probe{}}
	client := serve(t, f, RawWAL(), Rewinds())
	if d, err := client.Describe(within(t), &wire.DescribeRequest{}); err != nil || !reflect.DeepEqual(d.Capabilities[len(d.Capabilities)-1:], []string{wire.CapRewind}) {
		t.Errorf("capabilities %v, %v", d.GetCapabilities(), err)
	}
	open(t, client)
	w, b, ends := threeBlocks(t)
	h := stream(t, within(t), client, w.Options().Start)
	h.block(b[0])
	h.send(&wire.HostMessage{Message: &wire.HostMessage_RetainFrom{RetainFrom: &wire.RetainFrom{Timeline: 3, Lsn: 0x500}}})
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Epoch{Epoch: &wire.Epoch{OldTimeline: 3, SwitchLsn: uint64(ends[0]) + 0x10,
		NewTimeline: 5, HistoryFileName: "00000005.history", HistoryFile: []byte("3\t0/0\n")}}})
	var done *wire.EpochDone
	for done == nil {
		m := h.recv()
		if p := m.GetProgress(); p != nil && p.ReleasedBlocks != 1 {
			t.Errorf("%d blocks are given back before the switch", p.ReleasedBlocks)
		}
		done = m.GetEpochDone()
	}
	if done.Timeline != 5 || wal.LSN(done.Lsn) != ends[0] {
		t.Errorf("the answer is %s on timeline %d", wal.LSN(done.Lsn), done.Timeline)
	}
	h.block(b[1]) // begins where the first has ended
	h.progress(ends[1], ends[0], 0, 0, 2)
	want := Epoch{OldTimeline: 3, SwitchLSN: ends[0] + 0x10, NewTimeline: 5, HistoryFile: "00000005.history", History: []byte("3\t0/0\n")}
	if len(f.epochs) != 1 || !reflect.DeepEqual(f.epochs[0], want) {
		t.Errorf("the sink was told %+v", f.epochs)
	}
	if !reflect.DeepEqual(f.retained, []wal.Position{{Timeline: 3, LSN: 0x500}}) {
		t.Errorf("others need WAL from %v", f.retained)
	}
}

// TestRetainAfterBlock: a block whose report was kept back because a message
// followed is reported, though that message asks for no answer: the host may be
// waiting for its credit.
func TestRetainAfterBlock(t *testing.T) {
	hold := make(chan struct{}, 2)
	f := &follower{probe: &probe{onWrite: func(context.Context, *Batch) error { <-hold; return nil }}}
	client := serve(t, f, RawWAL())
	open(t, client)
	w, b, ends := threeBlocks(t)
	h := stream(t, within(t), client, w.Options().Start)
	hold <- struct{}{}
	h.block(b[0])
	h.progress(ends[0], 0, 0, 0, 1) // so that the next report is not due by time
	h.block(b[1])
	h.send(&wire.HostMessage{Message: &wire.HostMessage_RetainFrom{RetainFrom: &wire.RetainFrom{Timeline: 3, Lsn: 0x500}}})
	h.heartbeat(1)
	for h.recv().GetHeartbeat() == nil { // both are queued now
	}
	hold <- struct{}{}
	h.progress(ends[1], 0, 0, 0, 2)
}
