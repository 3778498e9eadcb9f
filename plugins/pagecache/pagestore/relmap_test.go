package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// relMapFile is a relation map file with one mapping.
func relMapFile(v wal.Version, oid, file uint32) []byte {
	mappings, padding := 62, 4
	if v >= wal.PG16 {
		mappings, padding = 64, 0
	}
	b := words(0x592717, 1, oid, file)
	b = append(b, make([]byte, 8*(mappings-1))...)
	b = le.AppendUint32(b, checksum(b))
	return append(b, make([]byte, padding)...)
}

func relMapRecord(spc, db uint32, file []byte) waltest.Record {
	return waltest.Record{Rmgr: wal.RmgrRelMap, Info: 0x00, XID: 700, Main: append(words(db, spc, uint32(len(file))), file...)}
}

// TestRelMap reads relation maps as of each record that has to do with them, in
// every version.
func TestRelMap(t *testing.T) {
	for v := wal.PG14; v <= wal.PG18; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) { testRelMap(t, v) })
	}
}

func testRelMap(t *testing.T, v wal.Version) {
	w := waltest.New(waltest.Options{Version: v})
	size := map[bool]int{true: 524, false: 512}[v >= wal.PG16]
	imported, shared, first, second, own := relMapFile(v, 1259, 1), relMapFile(v, 1262, 2), relMapFile(v, 1259, 3), relMapFile(v, 1259, 4), relMapFile(v, 1259, 5)
	type state map[PageID][]byte
	five, six, moved, global := RelMapPage(1663, 5), RelMapPage(1663, 6), RelMapPage(1700, 6), RelMapPage(1664, 0)
	var ends []wal.LSN
	var want []state
	now := state{five: imported}
	add := func(rec waltest.Record, after state) {
		_, end := w.Append(rec)
		ends, want = append(ends, end), append(want, after)
	}
	add(blocksRecord(testPage), now)
	add(relMapRecord(1664, 0, shared), state{five: imported, global: shared})
	add(copyDatabaseRecord(6, 1663, 5, 1663), state{five: imported, six: imported, global: shared})
	add(relMapRecord(1663, 5, first), state{five: first, six: imported, global: shared})
	add(relMapRecord(1663, 6, own), state{five: first, six: own, global: shared})
	add(relMapRecord(1663, 5, second), state{five: second, six: own, global: shared})
	// ALTER DATABASE SET TABLESPACE
	add(copyDatabaseRecord(6, 1700, 6, 1663), state{five: second, six: own, moved: own, global: shared})
	add(dropDatabaseRecord(v, 6, 1663), state{five: second, moved: own, global: shared})
	add(dropDatabaseRecord(v, 5, 1663), state{moved: own, global: shared})
	if v >= wal.PG15 { // CREATE DATABASE by WAL
		add(waltest.Record{Rmgr: wal.RmgrDatabase, Info: 0x10, Main: words(5, 1663)}, state{moved: own, global: shared})
	}
	add(relMapRecord(1663, 5, first), state{five: first, moved: own, global: shared})

	fs := vfs.NewMem()
	s := openTest(t, fs, "/d")
	if err := s.BeginImport(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start); err != nil {
		t.Fatal(err)
	}
	page := make([]byte, wal.BlockSize)
	copy(page, imported)
	if err := s.ImportPages(five.Rel, five.Fork, five.Block, page); err != nil {
		t.Fatal(err)
	}
	if err := s.EndImport(t.Context(), w.Options().Start); err != nil {
		t.Fatal(err)
	}
	fillFrom(t, s, w, nil)
	for range 2 {
		for i, lsn := range ends {
			for _, id := range []PageID{five, six, moved, global} {
				a, err := s.ReadPage(t.Context(), id, lsn)
				file := want[i][id]
				if file == nil {
					if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), id.String()) {
						t.Fatalf("after record %d %s: %v, %v", i+1, id, a, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("after record %d: %v", i+1, err)
				}
				got, err := RelMapFile(a.Page)
				if err != nil || !bytes.Equal(got, file) || len(got) != size || !allZero(a.Page[size:]) {
					t.Fatalf("after record %d %s is %d bytes, %x…; want %d bytes, %x…; %v", i+1, id, len(got), got[:16], size, file[:16], err)
				}
			}
		}
		closeTest(t, s)
		s = openTest(t, fs, "/d")
	}
	closeTest(t, s)
}

// TestRelMapDamaged has maps that are none, and an index that leads to another
// record.
func TestRelMapDamaged(t *testing.T) {
	file := relMapFile(wal.PG16, 1259, 3)
	for _, page := range [][]byte{nil, file[:100], make([]byte, wal.BlockSize), append([]byte{1}, file...)} {
		if got, err := RelMapFile(page); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v, %v", len(page), got, err)
		}
	}
	w := waltest.New(waltest.Options{Version: wal.PG16})
	w.Append(relMapRecord(1663, 5, file))
	for _, main := range [][]byte{words(5, 1663), words(5, 1663, 100), words(5, 1663, 1<<31)} {
		w.Append(waltest.Record{Rmgr: wal.RmgrRelMap, Main: main})
	}
	recs := records(t, w)
	for i := range recs {
		if _, _, ok := relMapOf(&recs[i]); ok != (i == 0) {
			t.Errorf("record %d: %v", i, ok)
		}
	}
	r := replay{id: RelMapPage(1663, 6), page: make([]byte, wal.BlockSize)}
	if err := r.apply(&recs[0]); !errors.Is(err, ErrDamaged) {
		t.Errorf("the map of another database: %v", err)
	}
}
