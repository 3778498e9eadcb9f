package tablerecover

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
)

// relMapMagic is RELMAPPER_FILEMAGIC (utils/cache/relmapper.c).
const relMapMagic = 0x592717

// parseRelMap reads pg_filenode.map: magic, number of mappings, room for 62 of
// them (64 since PG16), each an OID and a file number, and a CRC-32C over all that.
func parseRelMap(b []byte, version wal.Version) (map[wal.OID]wal.OID, error) {
	room := 62
	if version >= wal.PG16 {
		room = 64
	}
	size := 8 + 8*room
	if len(b) < size+4 || le32(b) != relMapMagic || le32(b[4:]) > uint32(room) {
		return nil, fmt.Errorf("a relation map of %d bytes is damaged", len(b))
	}
	if crc := crc32c.Update(0, b[:size]); crc != le32(b[size:]) {
		return nil, fmt.Errorf("a relation map has the checksum %08X, want %08X", crc, le32(b[size:]))
	}
	m := map[wal.OID]wal.OID{}
	for i := range int(le32(b[4:])) {
		m[wal.OID(le32(b[8+8*i:]))] = wal.OID(le32(b[12+8*i:]))
	}
	return m, nil
}
