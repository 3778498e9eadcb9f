package tablerecover

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/walplex/walplex/host/internal/tablerecover/pgtext"
	"github.com/walplex/walplex/sdk/wal"
)

// twoPages answers pages of a fuzzer's bytes: block 0 and 1 of whatever is asked for.
type twoPages struct{ heap, index []byte }

func (s twoPages) Page(_ context.Context, rel wal.RelFileLocator, _ wal.ForkNumber, block wal.BlockNumber) ([]byte, error) {
	p := s.heap
	if rel.Rel == 2 {
		p = s.index[int(block)%2*wal.BlockSize:][:wal.BlockSize]
	}
	return p, nil
}
func (s twoPages) Blocks(context.Context, wal.RelFileLocator, wal.ForkNumber) (wal.BlockNumber, error) {
	return 2, nil
}
func (s twoPages) SLRUPage(context.Context, SLRU, uint32) ([]byte, error) { return s.heap, nil }
func (s twoPages) RelMap(context.Context, wal.OID, wal.OID) ([]byte, error) {
	return s.heap, nil
}

// heapPage makes a page of tuples.
func heapPage(tuples ...[]byte) []byte {
	p := make([]byte, wal.BlockSize)
	at := wal.BlockSize
	for i, t := range tuples {
		at = (at - len(t)) &^ 7
		copy(p[at:], t)
		binary.LittleEndian.PutUint32(p[pageHeader+i*itemSize:], uint32(at)|itemNormal<<15|uint32(len(t))<<17)
	}
	binary.LittleEndian.PutUint16(p[pdLower:], uint16(pageHeader+len(tuples)*itemSize))
	binary.LittleEndian.PutUint16(p[pdUpper:], uint16(at))
	binary.LittleEndian.PutUint16(p[pdSpecial:], wal.BlockSize)
	binary.LittleEndian.PutUint16(p[pdSizeVersion:], pageLayout)
	return p
}

// FuzzPages: no page of a heap or an index makes a panic or an endless search.
func FuzzPages(f *testing.F) {
	tuple := make([]byte, 48)
	binary.LittleEndian.PutUint32(tuple[tXmin:], 700)
	binary.LittleEndian.PutUint16(tuple[tInfomask2:], 3)
	binary.LittleEndian.PutUint16(tuple[tInfomask:], heapXminCommitted|heapXmaxInvalid)
	tuple[tHoff] = 24
	copy(tuple[24:], "\x07\x00\x00\x00\x00\x00\x00\x00\x09abc")
	index := heapPage()
	binary.LittleEndian.PutUint32(index[pageHeader:], btMagic)
	binary.LittleEndian.PutUint32(index[pageHeader+btRoot:], 1)
	leaf := heapPage([]byte("\x00\x00\x00\x00\x01\x00\x10\x00\x07\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(heapPage(tuple, tuple), append(index, leaf...), uint16(0), uint16(0))
	f.Add(heapPage(tuple), append(heapPage(), heapPage()...), uint16(26), uint16(8191))
	f.Fuzz(func(t *testing.T, heap, index []byte, at, value uint16) {
		src := twoPages{make([]byte, wal.BlockSize), make([]byte, 2*wal.BlockSize)}
		copy(src.heap, heap)
		copy(src.index, index)
		binary.LittleEndian.PutUint16(src.heap[at%(wal.BlockSize-1):], value)
		snap := &snapshot{src: src}
		cols := toastColumns()
		vals := make([][]byte, len(cols))
		_, _ = snap.scan(t.Context(), wal.RelFileLocator{Rel: 1}, func(_ place, tup []byte) error {
			if deform(tup, cols, vals) == nil {
				_, _ = pgtext.Inline(vals[2])
			}
			return nil
		})
		toast := &toastTable{oid: 8, table: wal.RelFileLocator{Rel: 1}, index: wal.RelFileLocator{Rel: 2}, snap: snap, cache: &pageCache{src: src}}
		_, _ = toast.fetch(t.Context(), pgtext.External{ValueID: 7, ToastRelID: 8, Size: 3})
		for _, v := range []wal.Version{wal.PG15, wal.PG16} {
			_, _ = parseRelMap(src.heap, v)
		}
	})
}
