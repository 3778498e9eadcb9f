package relfile

import (
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

func TestParse(t *testing.T) {
	rel := func(spc, db, rel wal.OID) wal.RelFileLocator { return wal.RelFileLocator{Spc: spc, DB: db, Rel: rel} }
	tests := []struct {
		name string
		want File
	}{
		{"base/5/16384", File{Kind: Relation, Rel: rel(1663, 5, 16384)}},
		{"base/5/16384_vm", File{Kind: Relation, Rel: rel(1663, 5, 16384), Fork: wal.VisibilityMapFork}},
		{"base/5/16384_fsm.2", File{Kind: Relation, Rel: rel(1663, 5, 16384), Fork: wal.FSMFork, Segment: 2}},
		{"base/5/16384.17", File{Kind: Relation, Rel: rel(1663, 5, 16384), Segment: 17}},
		{"base/5/16384_init", File{Kind: Relation, Rel: rel(1663, 5, 16384), Fork: wal.InitFork}},
		{"global/1262", File{Kind: Relation, Rel: rel(1664, 0, 1262)}},
		{"pg_tblspc/16400/PG_15_202209061/5/4294967295.1", File{Kind: Relation, Rel: rel(16400, 5, 4294967295), Segment: 1}},
		{"base/5/t3_16384", File{Kind: Temporary, Rel: rel(1663, 5, 16384)}},
		{"base/5/t12_16384_fsm.1", File{Kind: Temporary, Rel: rel(1663, 5, 16384), Fork: wal.FSMFork, Segment: 1}},
		{"base/5/pg_filenode.map", File{Kind: RelMap, Rel: rel(1663, 5, 0)}},
		{"global/pg_filenode.map", File{Kind: RelMap, Rel: rel(1664, 0, 0)}},
		{"pg_tblspc/16400/PG_15_202209061/5/pg_filenode.map", File{Kind: RelMap, Rel: rel(16400, 5, 0)}},
		{"pg_xact/0000", File{Kind: Xact}},
		{"pg_xact/0FFF", File{Kind: Xact, Segment: 0xFFF}},
		{"pg_multixact/offsets/0001", File{Kind: MultiXactOffsets, Segment: 1}},
		{"pg_multixact/members/14078", File{Kind: MultiXactMembers, Segment: 0x14078}},
		{"pg_commit_ts/0002", File{Kind: CommitTs, Segment: 2}},
		{"base/5/PG_VERSION", File{}},
		{"base/5/pg_internal.init", File{}},
		{"base/5/pg_filenode.map.tmp", File{}},
		{"base/5/16384_vn", File{}},
		{"base/5/16384.", File{}},
		{"base/5/016384", File{}},
		{"base/5/0", File{}},
		{"base/5/4294967296", File{}},
		{"base/5/t_16384", File{}},
		{"base/x/16384", File{}},
		{"base/pgsql_tmp/16384", File{}},
		{"base/5/x/16384", File{}},
		{"global/pg_control", File{}},
		{"pg_tblspc/16400/x/5/16384", File{}},
		{"pg_xact/000", File{}},
		{"pg_xact/000g", File{}},
		{"pg_xact/00ff", File{}},
		{"pg_notify/0000", File{}},
		{"pg_wal/000000010000000000000001", File{}},
		{"", File{}},
	}
	for _, tt := range tests {
		got := Parse(tt.name)
		if got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.name, got, tt.want)
		}
		if got.Kind == Relation {
			if name := Name(got.Rel, got.Fork, got.Segment, CatalogDir(15, 202209061)); name != tt.name {
				t.Errorf("%q became %q", tt.name, name)
			}
		}
	}
}

func TestFirstBlock(t *testing.T) {
	for name, want := range map[string]wal.BlockNumber{"base/5/16384.2": 262144, "pg_xact/0010": 512, "global/1262": 0} {
		f := Parse(name)
		if got := f.FirstBlock(); got != want {
			t.Errorf("%s begins with block %d, want %d", name, got, want)
		}
	}
}
