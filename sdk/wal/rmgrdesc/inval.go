package rmgrdesc

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
)

// invalidationSize is sizeof(SharedInvalidationMessage), in bytes.
const invalidationSize = 16

// invalidationKind is one of the messages that are not of a catalog cache:
// what it is called, and where its id lies in it, 0 if none is shown.
type invalidationKind struct {
	label string
	id    int
}

// invalidationKinds are the messages of negative ids, from -1 downwards
// (SHAREDINVAL…_ID in storage/sinval.h).
var invalidationKinds = [...]invalidationKind{
	{" catalog ", 8},
	{" relcache ", 8},
	{" smgr", 0},
	{" relmap db ", 4},
	{" snapshot ", 8},
	{" relsync ", 8}, // SHAREDINVALRELSYNC_ID, since PG18
}

// invalidationKindCount is how many of them a major has.
var invalidationKindCount = changes[int]{{wal.PG14, 5}, {wal.PG18, 6}}

// appendInvalidations is standby_desc_invalidations
// (access/rmgrdesc/standbydesc.c), which Transaction records have as well.
// Without messages it appends nothing at all.
func appendInvalidations(dst []byte, v wal.Version, msgs cursor, db, spc wal.OID, initFile bool) []byte {
	if msgs.left() == 0 {
		return dst
	}
	if initFile {
		dst = appendUint(dst, "; relcache init file inval dbid ", db)
		dst = appendUint(dst, " tsid ", spc)
	}
	dst = append(dst, "; inval msgs:"...)
	known := invalidationKindCount.in(v)
	for b := msgs.buf; len(b) >= invalidationSize; b = b[invalidationSize:] {
		dst = appendInvalidation(dst, b[:invalidationSize], known)
	}
	return dst
}

// appendInvalidation appends one message. Its first byte says which, as in
// every member of the union.
func appendInvalidation(dst, msg []byte, known int) []byte {
	id := int8(msg[0])
	if id >= 0 {
		return appendInt(dst, " catcache ", id)
	}
	n := -1 - int(id)
	if n >= known {
		return appendInt(dst, " unrecognized id ", id)
	}
	kind := &invalidationKinds[n]
	if kind.id == 0 {
		return append(dst, kind.label...)
	}
	return appendUint(dst, kind.label, binary.LittleEndian.Uint32(msg[kind.id:]))
}
