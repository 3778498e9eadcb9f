package pageclient

import (
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/sdk/pagepb"
)

// codec is gRPC's own, but for answers of GetPages: their pages are copied once,
// into memory that the message has.
type codec struct{ encoding.CodecV2 }

// protoName is the name of gRPC's codec.
const protoName = "proto"

func newCodec() codec { return codec{encoding.GetCodecV2(protoName)} }

// pagesField is GetPagesResponse.pages.
const pagesField = 2

var errMalformed = errors.New("a malformed answer")

// Unmarshal reads an answer of GetPages over the one that was in v.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*pagepb.GetPagesResponse)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	r := data.Reader()
	defer r.Close() // it has nothing to say
	pages := m.Pages[:0]
	var rest []byte // all other fields
	for r.Remaining() > 0 {
		tag, err := binary.ReadUvarint(r)
		if err != nil {
			return err
		}
		number, kind := protowire.DecodeTag(tag)
		n, err := valueSize(r, kind)
		if err != nil {
			return err
		}
		if kind == protowire.VarintType {
			rest = protowire.AppendVarint(protowire.AppendVarint(rest, tag), n)
			continue
		}
		if n > uint64(r.Remaining()) {
			return errMalformed
		}
		if number == pagesField && kind == protowire.BytesType {
			if pages, err = readInto(r, pages, int(n)); err != nil {
				return err
			}
			continue
		}
		rest = protowire.AppendVarint(rest, tag)
		if kind == protowire.BytesType {
			rest = protowire.AppendVarint(rest, n)
		}
		at := len(rest)
		rest = append(rest, make([]byte, n)...)
		if _, err := io.ReadFull(r, rest[at:]); err != nil {
			return err
		}
	}
	if err := proto.Unmarshal(rest, m); err != nil { // resets m
		return err
	}
	m.Pages = pages
	return nil
}

// valueSize is how many bytes of a field's value follow; of a varint its value.
func valueSize(r *mem.Reader, kind protowire.Type) (uint64, error) {
	switch kind {
	case protowire.VarintType, protowire.BytesType:
		return binary.ReadUvarint(r)
	case protowire.Fixed32Type:
		return 4, nil
	case protowire.Fixed64Type:
		return 8, nil
	}
	return 0, errMalformed
}

// readInto reads n bytes into b's memory, or more where that is too small.
func readInto(r io.Reader, b []byte, n int) ([]byte, error) {
	if cap(b) < n {
		b = make([]byte, n)
	}
	_, err := io.ReadFull(r, b[:n])
	return b[:n], err
}
