package filter

import (
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// kind is how an attribute's constants are written.
type kind uint8

const (
	number kind = iota
	flag
	lsn
	rmgrName
	operationName
	forkName
	relation // a number, or a name
)

// words is what a value of the kind is called.
func (k kind) words() string {
	switch k {
	case number:
		return "a number"
	case flag:
		return "true or false"
	case lsn:
		return "an LSN"
	case rmgrName:
		return "the name or number of a resource manager"
	case relation:
		return "a relfilenode or a relation's name"
	}
	return "text"
}

// ordered reports that <, <=, > and >= mean something.
func (k kind) ordered() bool { return k == number || k == lsn || k == relation }

// attribute is one line of the package's table. All values are numbers.
type attribute struct {
	name  string
	kind  kind
	most  uint64 // the greatest value
	value func(*wal.Record) uint64
	block func(*wal.BlockRef) uint64 // instead of value: of a block reference
	// interval is the predicate that the value lies from lo to lo+width, without
	// another call for the value; nil where value or block has to do.
	interval func(lo, width uint64) predicate
}

// attributes are all that a record has, in the order of the documentation.
func attributes() []attribute {
	return []attribute{
		{"rmgr", rmgrName, math.MaxUint8, func(r *wal.Record) uint64 { return uint64(r.RmgrID) }, nil, nil},
		{"operation", operationName, 0, nil, nil, nil},
		{"info", number, math.MaxUint8, func(r *wal.Record) uint64 { return uint64(r.Info) }, nil, nil},
		{"xid", number, math.MaxUint32, func(r *wal.Record) uint64 { return uint64(r.XID) }, nil, func(lo, width uint64) predicate {
			return func(r *wal.Record) bool { return uint64(r.XID)-lo <= width }
		}},
		{"toplevel_xid", number, math.MaxUint32, func(r *wal.Record) uint64 { return uint64(r.TopLevelXID) }, nil, nil},
		{"origin", number, math.MaxUint16, func(r *wal.Record) uint64 { return uint64(r.Origin) }, nil, nil},
		{"length", number, math.MaxUint32, func(r *wal.Record) uint64 { return uint64(r.TotalLen) }, nil, func(lo, width uint64) predicate {
			return func(r *wal.Record) bool { return uint64(r.TotalLen)-lo <= width }
		}},
		{"main_data_length", number, math.MaxUint32, func(r *wal.Record) uint64 { return uint64(r.MainDataLen) }, nil, func(lo, width uint64) predicate {
			return func(r *wal.Record) bool { return uint64(r.MainDataLen)-lo <= width }
		}},
		{"start_lsn", lsn, math.MaxUint64, func(r *wal.Record) uint64 { return uint64(r.StartLSN) }, nil, func(lo, width uint64) predicate {
			return func(r *wal.Record) bool { return uint64(r.StartLSN)-lo <= width }
		}},
		{"end_lsn", lsn, math.MaxUint64, func(r *wal.Record) uint64 { return uint64(r.EndLSN) }, nil, func(lo, width uint64) predicate {
			return func(r *wal.Record) bool { return uint64(r.EndLSN)-lo <= width }
		}},
		{"has_image", flag, 1, hasImage, nil, nil},
		{"tablespace", number, math.MaxUint32, nil, func(b *wal.BlockRef) uint64 { return uint64(b.Rel.Spc) }, anyTablespace},
		{"database", number, math.MaxUint32, nil, func(b *wal.BlockRef) uint64 { return uint64(b.Rel.DB) }, anyDatabase},
		{"relation", relation, math.MaxUint32, nil, func(b *wal.BlockRef) uint64 { return uint64(b.Rel.Rel) }, anyRelation},
		{"fork", forkName, uint64(wal.InitFork), nil, func(b *wal.BlockRef) uint64 { return uint64(b.Fork) }, anyFork},
		{"block", number, math.MaxUint32, nil, func(b *wal.BlockRef) uint64 { return uint64(b.Block) }, anyBlock},
	}
}

func anyTablespace(lo, width uint64) predicate {
	return func(r *wal.Record) bool {
		for i := range r.Blocks {
			if uint64(r.Blocks[i].Rel.Spc)-lo <= width {
				return true
			}
		}
		return false
	}
}

func anyDatabase(lo, width uint64) predicate {
	return func(r *wal.Record) bool {
		for i := range r.Blocks {
			if uint64(r.Blocks[i].Rel.DB)-lo <= width {
				return true
			}
		}
		return false
	}
}

func anyRelation(lo, width uint64) predicate {
	return func(r *wal.Record) bool {
		for i := range r.Blocks {
			if uint64(r.Blocks[i].Rel.Rel)-lo <= width {
				return true
			}
		}
		return false
	}
}

func anyFork(lo, width uint64) predicate {
	return func(r *wal.Record) bool {
		for i := range r.Blocks {
			if uint64(r.Blocks[i].Fork)-lo <= width {
				return true
			}
		}
		return false
	}
}

func anyBlock(lo, width uint64) predicate {
	return func(r *wal.Record) bool {
		for i := range r.Blocks {
			if uint64(r.Blocks[i].Block)-lo <= width {
				return true
			}
		}
		return false
	}
}

func hasImage(r *wal.Record) uint64 {
	for i := range r.Blocks {
		if r.Blocks[i].HasImage() {
			return 1
		}
	}
	return 0
}

// attributeNames are for those who misspelt one.
func attributeNames() []string {
	var names []string
	for _, a := range attributes() {
		names = append(names, a.name)
	}
	return names
}
