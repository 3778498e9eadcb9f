package wal

import "fmt"

// Version is a PostgreSQL major version whose WAL format is known here. The
// zero value is none.
type Version uint8

// The supported majors.
const (
	PG14 Version = 14
	PG15 Version = 15
	PG16 Version = 16
	PG17 Version = 17
	PG18 Version = 18
)

// pageMagic is XLOG_PAGE_MAGIC of each major (access/xlog_internal.h).
var pageMagic = [...]struct {
	magic   uint16
	version Version
}{
	{0xD10D, PG14},
	{0xD110, PG15},
	{0xD113, PG16},
	{0xD116, PG17},
	{0xD118, PG18},
}

// VersionOfMagic is the major version whose WAL pages carry the magic number.
func VersionOfMagic(magic uint16) (Version, bool) {
	for _, m := range pageMagic {
		if m.magic == magic {
			return m.version, true
		}
	}
	return 0, false
}

// Magic is the version's XLOG_PAGE_MAGIC, 0 for an unknown version.
func (v Version) Magic() uint16 {
	for _, m := range pageMagic {
		if m.version == v {
			return m.magic
		}
	}
	return 0
}

func (v Version) String() string { return fmt.Sprintf("PostgreSQL %d", uint8(v)) }
