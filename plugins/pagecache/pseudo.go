package pagecache

import (
	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// relMapFile is the number of the pseudo relation that holds relation maps.
const relMapFile = 5

// slruPage is the page under which the store keeps a page of an SLRU: of a pseudo
// relation in tablespace 0, which no relation lies in, whose number is the SLRU's.
func slruPage(slru pagepb.SLRU, page uint32) pagestore.PageID {
	return pagestore.PageID{Rel: wal.RelFileLocator{Rel: wal.OID(slru)}, Block: wal.BlockNumber(page)}
}

// relMapPage is the page under which the store keeps a database's relation map,
// of database 0 the shared one.
func relMapPage(db wal.OID) pagestore.PageID {
	return pagestore.PageID{Rel: wal.RelFileLocator{DB: db, Rel: relMapFile}}
}

// slruOf is the SLRU of a file.
func slruOf(kind relfile.Kind) pagepb.SLRU {
	switch kind {
	case relfile.Xact:
		return pagepb.SLRU_SLRU_XACT
	case relfile.MultiXactOffsets:
		return pagepb.SLRU_SLRU_MULTIXACT_OFFSETS
	case relfile.MultiXactMembers:
		return pagepb.SLRU_SLRU_MULTIXACT_MEMBERS
	case relfile.CommitTs:
		return pagepb.SLRU_SLRU_COMMIT_TS
	}
	return pagepb.SLRU_SLRU_UNSPECIFIED
}
