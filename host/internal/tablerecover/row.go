package tablerecover

import (
	"bytes"
	"fmt"

	"github.com/walplex/walplex/host/internal/tablerecover/pgtext"
	"github.com/walplex/walplex/sdk/wal"
)

// row is a catalog's row. Its first fault sticks, so that columns are read without
// looking at each.
type row struct {
	cols []column
	vals [][]byte
	err  error
}

// value is a column's stored value, nil if it is NULL.
func (r *row) value(name string) []byte {
	for i := range r.cols {
		if r.cols[i].name == name {
			return r.vals[i]
		}
	}
	r.fail(fmt.Errorf("the catalog has no column %s", name))
	return nil
}

func (r *row) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// bytes is the value of a column of fixed length.
func (r *row) bytes(name string, n int) []byte {
	v := r.value(name)
	if len(v) != n {
		r.fail(fmt.Errorf("column %s of a catalog has %d bytes, want %d", name, len(v), n))
		return make([]byte, n)
	}
	return v
}

func (r *row) oid(name string) wal.OID { return wal.OID(le32(r.bytes(name, 4))) }
func (r *row) int4(name string) int32  { return int32(le32(r.bytes(name, 4))) }
func (r *row) int2(name string) int16  { return int16(le16(r.bytes(name, 2))) }
func (r *row) char(name string) byte   { return r.bytes(name, 1)[0] }
func (r *row) bool(name string) bool   { return r.char(name) != 0 }

func (r *row) name(name string) string {
	v := r.bytes(name, 64)
	if n := bytes.IndexByte(v, 0); n >= 0 {
		v = v[:n]
	}
	return string(v)
}

// text is a column of type text, "" if it is NULL.
func (r *row) text(name string) string {
	v := r.value(name)
	if v == nil {
		return ""
	}
	b, err := pgtext.Inline(v)
	if err != nil {
		r.fail(fmt.Errorf("column %s of a catalog: %w", name, err))
	}
	return string(b)
}
