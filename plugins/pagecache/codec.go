package pagecache

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/sdk/pagepb"
)

// codec is gRPC's own, but for answers of GetPages: the pages of a chunk go to the
// socket from where they were read into.
type codec struct{ encoding.CodecV2 }

// protoName is the name of gRPC's codec.
const protoName = "proto"

func newCodec() codec { return codec{encoding.GetCodecV2(protoName)} }

// Marshal writes a chunk as the message that it stands for. Its memory is gRPC's
// until it was sent.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	k, ok := v.(*chunk)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	const lsnField, pagesField = 1, 2 // pages.proto
	head := protowire.AppendTag(nil, lsnField, protowire.VarintType)
	head = protowire.AppendVarint(head, k.res.Lsn)
	head = protowire.AppendTag(head, pagesField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(k.res.Pages)))
	rest, err := proto.Marshal(&pagepb.GetPagesResponse{EndLsns: k.res.EndLsns, Faults: k.res.Faults})
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(&k.res.Pages, k), mem.SliceBuffer(rest)}, nil
}

// Get is of mem.BufferPool, which a chunk is to its own memory alone.
func (k *chunk) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// Put is called when gRPC needs the chunk's memory no more.
func (k *chunk) Put(*[]byte) { k.home.pool.Put(k) }
