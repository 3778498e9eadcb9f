package pgtext

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pierrec/lz4/v4"

	"github.com/walplex/walplex/sdk/wal"
)

// errShort says that a value ends before what it announces.
var errShort = errors.New("the value ends too early")

// maxValue is the longest value that there can be: MaxAllocSize (utils/memutils.h), bytes.
const maxValue = 1<<30 - 1

// External says where a value lies out of line (struct varatt_external, varatt.h).
type External struct {
	ValueID    wal.OID // chunk_id in the TOAST table
	ToastRelID wal.OID // OID of the TOAST table, not its file
	Size       int     // as stored there, bytes
	rawSize    int     // when decompressed, bytes, without header
}

// Compressed reports that what lies in the TOAST table is compressed.
func (e External) compressed() bool { return e.Size < e.rawSize }

// align moves off up as typalign says.
func align(off int, typalign byte) (int, error) {
	switch typalign {
	case 'c':
		return off, nil
	case 's':
		return (off + 1) &^ 1, nil
	case 'i':
		return (off + 3) &^ 3, nil
	case 'd':
		return (off + 7) &^ 7, nil
	}
	return 0, fmt.Errorf("%q is no alignment", typalign)
}

// Next finds the value at or, where its alignment demands it, behind data[off],
// and answers its stored bytes and where they end. data begins at an aligned place.
func Next(data []byte, off int, typlen int16, typalign byte) (stored []byte, end int, err error) {
	if typlen != -1 || off < len(data) && data[off] == 0 {
		if off, err = align(off, typalign); err != nil {
			return nil, 0, err
		}
	}
	if off > len(data) {
		return nil, 0, errShort
	}
	rest := data[off:]
	n := int(typlen)
	switch {
	case typlen == -1:
		n, err = varSize(rest)
	case typlen == -2:
		if n = 1 + indexNUL(rest); n == 0 {
			err = errShort
		}
	case typlen <= 0:
		err = fmt.Errorf("%d is no length of a type", typlen)
	}
	if err != nil {
		return nil, 0, err
	}
	if n > len(rest) {
		return nil, 0, errShort
	}
	return rest[:n:n], off + n, nil
}

func indexNUL(b []byte) int {
	for i, c := range b {
		if c == 0 {
			return i
		}
	}
	return -1
}

// externalSize is what a pointer to a TOAST table takes, header and tag included;
// tagOnDisk is VARTAG_ONDISK.
const (
	externalSize = 2 + 16
	tagOnDisk    = 18
)

// varSize is the length of the varlena at the start of b with its header (VARSIZE_ANY).
func varSize(b []byte) (int, error) {
	switch {
	case len(b) == 0:
		return 0, errShort
	case b[0] == 1:
		if len(b) < 2 {
			return 0, errShort
		}
		if b[1] != tagOnDisk {
			return 0, fmt.Errorf("a value out of line has the tag %d, want %d", b[1], tagOnDisk)
		}
		return externalSize, nil
	case b[0]&1 == 1:
		return int(b[0] >> 1), nil
	case len(b) < 4:
		return 0, errShort
	}
	n := int(binary.LittleEndian.Uint32(b) >> 2)
	if n < 4 {
		return 0, fmt.Errorf("a value's header gives it a length of %d", n)
	}
	return n, nil
}

// payload is what a stored varlena holds: decompressed, without its header, and
// fetched where it lies out of line.
func (f *Formatter) payload(stored []byte) ([]byte, error) {
	n, err := varSize(stored)
	if err != nil {
		return nil, err
	}
	if n != len(stored) {
		return nil, fmt.Errorf("a value of %d bytes has a header for %d", len(stored), n)
	}
	switch {
	case stored[0] == 1:
		return f.external(stored[2:])
	case stored[0]&1 == 1:
		return stored[1:], nil
	case stored[0]&3 == 2:
		return decompress(stored[4:])
	}
	return stored[4:], nil
}

func (f *Formatter) external(b []byte) ([]byte, error) {
	ext := External{
		rawSize:    int(binary.LittleEndian.Uint32(b)) - 4,
		Size:       int(binary.LittleEndian.Uint32(b[4:]) & 0x3FFFFFFF),
		ValueID:    wal.OID(binary.LittleEndian.Uint32(b[8:])),
		ToastRelID: wal.OID(binary.LittleEndian.Uint32(b[12:])),
	}
	if f.Fetch == nil {
		return nil, fmt.Errorf("a value lies out of line where none can")
	}
	data, err := f.Fetch(ext)
	if err != nil {
		return nil, err
	}
	if len(data) != ext.Size {
		return nil, fmt.Errorf("value %d has %d bytes in its TOAST table, want %d", ext.ValueID, len(data), ext.Size)
	}
	if ext.compressed() {
		if data, err = decompress(data); err != nil {
			return nil, err
		}
	}
	if len(data) != ext.rawSize {
		return nil, fmt.Errorf("value %d of a TOAST table has %d bytes, want %d", ext.ValueID, len(data), ext.rawSize)
	}
	return data, nil
}

// decompress decompresses what begins with va_tcinfo.
func decompress(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errShort
	}
	info := binary.LittleEndian.Uint32(b)
	size, method := int(info&0x3FFFFFFF), info>>30
	if size > maxValue || size > 255*len(b)+1024 {
		return nil, fmt.Errorf("a compressed value of %d bytes claims to have %d", len(b), size)
	}
	dst := make([]byte, size)
	ok := false
	switch method {
	case 0:
		ok = wal.DecompressPGLZ(dst, b[4:])
	case 1:
		n, err := lz4.UncompressBlock(b[4:], dst)
		ok = err == nil && n == size
	default:
		return nil, fmt.Errorf("a value is compressed by method %d, which is not known here", method)
	}
	if !ok {
		return nil, errors.New("a compressed value is damaged")
	}
	return dst, nil
}

// Inline is what a stored varlena holds that lies in line.
func Inline(stored []byte) ([]byte, error) { return (&Formatter{}).payload(stored) }
