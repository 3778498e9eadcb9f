package pageclient

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/sdk/pagepb"
)

// cut is b in pieces.
func cut(b []byte, size int) (out mem.BufferSlice) {
	for len(b) > 0 {
		n := min(size, len(b))
		out = append(out, mem.SliceBuffer(b[:n]))
		b = b[n:]
	}
	return out
}

// TestCodec reads what proto has written, in any pieces, over what was there.
func TestCodec(t *testing.T) {
	large := &pagepb.GetPagesResponse{
		Lsn: 0x16B374D848, Pages: bytes.Repeat([]byte{1, 2, 3, 4}, 5000), EndLsns: []uint64{0, 1 << 63, 77},
		Faults: []*pagepb.PageFault{{Index: 1, Code: 5, Reason: "because"}, {Index: 2}},
	}
	newer := protowire.AppendFixed64(protowire.AppendTag(nil, 99, protowire.Fixed64Type), 7)
	newer = protowire.AppendFixed32(protowire.AppendTag(newer, 98, protowire.Fixed32Type), 7)
	newer = protowire.AppendString(protowire.AppendTag(newer, 97, protowire.BytesType), "of a newer sink")
	for _, size := range []int{1, 3, 1000, 1 << 20} {
		got := new(pagepb.GetPagesResponse)
		for _, want := range []*pagepb.GetPagesResponse{large, {}, {Lsn: 1, Pages: []byte{9}, EndLsns: []uint64{1}}, large} {
			b, err := proto.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if err := newCodec().Unmarshal(cut(append(b, newer...), size), got); err != nil {
				t.Fatal(err)
			}
			got.ProtoReflect().SetUnknown(nil)
			if len(got.Pages) == 0 {
				got.Pages = nil
			}
			if !proto.Equal(got, want) {
				t.Fatalf("in pieces of %d: another message", size)
			}
		}
	}
}

func FuzzCodec(f *testing.F) {
	b, err := proto.Marshal(&pagepb.GetPagesResponse{Lsn: 1, Pages: make([]byte, 100), EndLsns: []uint64{1, 2}, Faults: []*pagepb.PageFault{{Reason: "x"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Add([]byte{0x0B})
	f.Fuzz(func(t *testing.T, b []byte) {
		var ours, theirs pagepb.GetPagesResponse
		if newCodec().Unmarshal(cut(b, 7), &ours) == nil && proto.Unmarshal(b, &theirs) == nil && !bytes.Equal(ours.Pages, theirs.Pages) {
			t.Errorf("%d bytes of pages, want %d", len(ours.Pages), len(theirs.Pages))
		}
	})
}
