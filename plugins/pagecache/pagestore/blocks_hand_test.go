package pagestore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// sizeStep is a record and the sizes of two relations after it: main, fsm, vm and
// init fork of one, then of the other; - where a fork does not exist.
type sizeStep struct {
	name string
	rec  waltest.Record
	want string
}

// TestSizesByHand has every kind of record that changes sizes, in every version.
func TestSizesByHand(t *testing.T) {
	for v := wal.PG14; v <= wal.PG18; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) { testSizesByHand(t, v) })
	}
}

func testSizesByHand(t *testing.T, v wal.Version) {
	one := wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}
	other := wal.RelFileLocator{Spc: 1700, DB: 6, Rel: 16384} // of a copy
	page := func(fork wal.ForkNumber, block wal.BlockNumber) PageID {
		return PageID{Rel: one, Fork: fork, Block: block}
	}
	clearing := waltest.HeapInsert(700, one, 32672, 2, []byte("x"))
	clearing.Main[2] = 1 // XLH_INSERT_ALL_VISIBLE_CLEARED
	steps := []sizeStep{
		{"made", smgrCreateRecord(one, wal.MainFork), "0 - - -  - - - -"},
		{"a block behind a hole", blocksRecord(page(0, 4)), "5 - - -  - - - -"},
		{"a block that is there", blocksRecord(page(0, 4), page(0, 1)), "5 - - -  - - - -"},
		{"two blocks at once", blocksRecord(page(0, 9), page(0, 7)), "10 - - -  - - - -"},
		{"an image", waltest.FullPageImage(one, 10, waltest.HeapPage(100, 1)), "11 - - -  - - - -"},
		{"maps", blocksRecord(page(wal.FSMFork, 2), page(wal.VisibilityMapFork, 0)), "11 3 1 -  - - - -"},
		{"a map's page that the record does not name", clearing, "32673 3 2 -  - - - -"},
		{"an init fork", smgrCreateRecord(one, wal.InitFork), "32673 3 2 0  - - - -"},
		{"more of the free space map", blocksRecord(page(wal.FSMFork, 11)), "32673 12 2 0  - - - -"},
		{"cut to the end of a page of the visibility map", smgrTruncateRecord(one, 32672, 7), "32672 11 1 0  - - - -"},
		{"the files of the database copied", copyDatabaseRecord(6, 1700, 5, 1663), "32672 11 1 0  32672 11 1 0"},
		{"cut to the end of a page of the free space map", smgrTruncateRecord(one, 4069, 7), "4069 3 1 0  32672 11 1 0"},
		{"only the visibility map", smgrTruncateRecord(one, 0, 2), "4069 3 0 0  32672 11 1 0"},
		{"only the free space map", smgrTruncateRecord(one, 0, 4), "4069 2 0 0  32672 11 1 0"},
		{"nothing is cut longer", smgrTruncateRecord(one, 4069, 7), "4069 2 0 0  32672 11 1 0"},
		{"cut to nothing", smgrTruncateRecord(one, 0, 7), "0 2 0 0  32672 11 1 0"},
		{"it grows again", blocksRecord(page(0, 2)), "3 2 0 0  32672 11 1 0"},
		{"the copy grows", blocksRecord(PageID{Rel: other, Block: 32672}, PageID{Rel: other, Fork: wal.VisibilityMapFork}), "3 2 0 0  32673 11 1 0"},
		{"dropped", dropRecord(xactCommit, one), "- - - -  32673 11 1 0"},
		{"dropped again", dropRecord(xactAbort, one), "- - - -  32673 11 1 0"},
		{"the number used again", smgrCreateRecord(one, wal.MainFork), "0 - - -  32673 11 1 0"},
		{"grown", blocksRecord(page(0, 1), page(1, 2), page(2, 0)), "2 3 1 -  32673 11 1 0"},
		{"the number used again without a drop", smgrCreateRecord(one, wal.MainFork), "0 - - -  32673 11 1 0"},
		{"rolled back", dropRecord(xactAbortPrepared, other, one), "- - - -  - - - -"},
		{"made without a record", blocksRecord(page(0, 0)), "1 - - -  - - - -"},
		{"copied over what is there", copyDatabaseRecord(6, 1700, 5, 1663), "1 - - -  1 - - -"},
		{"the copied database dropped", dropDatabaseRecord(v, 5, 1663, 1664), "- - - -  1 - - -"},
		{"the copy dropped", dropDatabaseRecord(v, 6, 1663, 1700), "- - - -  - - - -"},
		{"a page after that", blocksRecord(PageID{Rel: other, Block: 3}), "- - - -  4 - - -"},
	}
	if v >= wal.PG15 {
		made := waltest.Record{Rmgr: wal.RmgrDatabase, Info: 0x10, Main: words(6, 1700)}
		steps = append(steps, sizeStep{"a database made", made, "- - - -  - - - -"})
	}
	w := waltest.New(waltest.Options{Version: v})
	for _, step := range steps {
		w.Append(step.rec)
	}
	s := openTest(t, vfs.NewMem(), "/d")
	defer closeTest(t, s)
	fill(t, s, w)
	for i, step := range steps {
		var got []string
		for _, rel := range []wal.RelFileLocator{one, other} {
			for fork := range wal.ForkNumber(4) {
				n, _, err := s.RelSize(t.Context(), rel, fork, w.Records()[i].End)
				switch {
				case errors.Is(err, ErrNotFound):
					got = append(got, "-")
				case err != nil:
					t.Fatal(err)
				default:
					got = append(got, fmt.Sprint(n))
				}
			}
		}
		if want := strings.Fields(step.want); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v, want %v", step.name, got, want)
		}
	}
}
