package wal

import "testing"

// BenchmarkDecode decodes a heap insert of one block reference, the commonest
// of small records.
func BenchmarkDecode(b *testing.B) {
	rec := buildRecord(RmgrHeap, 0, 700, block{id: 0, rel: RelFileLocator{1663, 5, 16384}, blkno: 7, data: make([]byte, 40)}.bytes(PG15), mainData(make([]byte, 3)))
	r := Record{Version: PG15, StartLSN: 0x1000028}
	b.SetBytes(int64(len(rec)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Decode(rec); err != nil {
			b.Fatal(err)
		}
	}
}
