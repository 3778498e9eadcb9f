package sdk

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

// TestFromOutlivesTheBlock: From is To of the batch before, even when the memory
// of that batch's block has been used for the next one.
func TestFromOutlivesTheBlock(t *testing.T) {
	w := waltest.Random(1, waltest.Options{}, 400<<10)
	o := w.Options()
	b := NewBatcher(&Definition{records: true, maxRecord: DefaultMaxRecord}, o.Start)
	asm := wire.NewAssembler(xlogreader.New(o.Start, xlogreader.Options{SegmentSize: o.SegmentSize, MaxWhole: wire.MaxWhole}), 1, o.Start)
	var memory []byte
	var last wal.LSN = o.Start
	for p := w.Bytes(); len(p) > 0; {
		asm.SetBuffer(memory)
		n, err := asm.Append(p[:min(len(p), 10_000)], 0)
		if err != nil {
			t.Fatal(err)
		}
		p = p[n:]
		memory = asm.Seal()
		batch, err := b.Next(memory, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if batch.From() != last {
			t.Fatalf("the batch to %s is from %s, the one before was to %s", batch.To(), batch.From(), last)
		}
		last = batch.To()
	}
	if last == o.Start {
		t.Fatal("no batch has moved")
	}
}
