package pgtext

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
)

// Limits of an array: MAXDIM, and MaxArraySize as a check against damage.
const (
	maxDim      = 6
	maxElements = 1 << 27
)

var errArray = errors.New("the array is damaged")

// arrayData is an array taken apart (utils/array.h). After the varlena's header of
// 4 bytes lie the number of dimensions, the offset of the values from the
// varlena's start (0: there are no NULLs), the elements' type; a length for each
// dimension, then a lower bound for each; a bitmap of what is not NULL; the values.
type arrayData struct {
	dims, lower []int
	count       int
	elem        wal.OID
	notNull     []byte // nil: none is NULL
	data        []byte
}

func parseArray(v []byte) (a arrayData, err error) {
	if len(v) < 12 {
		return a, errShort
	}
	n, offset := int(le32(v)), int(le32(v[4:]))
	a.elem = wal.OID(le32(v[8:]))
	if n < 0 || n > maxDim || len(v) < 12+8*n {
		return a, errArray
	}
	a.count = min(n, 1)
	for i := range n {
		a.dims = append(a.dims, int(int32(le32(v[12+4*i:]))))
		a.lower = append(a.lower, int(int32(le32(v[12+4*n+4*i:]))))
		if a.dims[i] < 0 || a.dims[i] > maxElements {
			return a, errArray
		}
		if a.count *= a.dims[i]; a.count > maxElements {
			return a, errArray
		}
	}
	start := (16+8*n+7)&^7 - 4
	if offset != 0 {
		start = offset - 4
		if bitmap := 12 + 8*n; start < bitmap+(a.count+7)/8 || start > len(v) {
			return a, errArray
		}
		a.notNull = v[12+8*n : start]
	}
	if a.count == 0 {
		return a, nil
	}
	if start > len(v) {
		return a, errShort
	}
	a.data = v[start:]
	return a, nil
}

func (a *arrayData) isNull(i int) bool { return a.notNull != nil && a.notNull[i/8]>>(i%8)&1 == 0 }

// Element is the first element of an array as it is stored, as pg_attribute's
// attmissingval has it; nil if it is NULL or not there.
func (f *Formatter) Element(stored []byte, elemLen int16, elemAlign byte) ([]byte, error) {
	v, err := f.payload(stored)
	if err != nil {
		return nil, err
	}
	a, err := parseArray(v)
	if err != nil || a.count == 0 || a.isNull(0) {
		return nil, err
	}
	first, _, err := Next(a.data, 0, elemLen, elemAlign)
	return first, err
}

// array is array_out.
func (f *Formatter) array(dst []byte, t *Type, v []byte, depth int) ([]byte, error) {
	a, err := parseArray(v)
	if err != nil {
		return nil, err
	}
	if a.count == 0 {
		return append(dst, "{}"...), nil
	}
	for i := range a.lower {
		if a.lower[i] != 1 {
			dst = a.appendBounds(dst)
			break
		}
	}
	w := arrayWriter{f: f, a: &a, elem: t.Elem, depth: depth + 1}
	return w.level(dst, 0)
}

func (a *arrayData) appendBounds(dst []byte) []byte {
	for i := range a.dims {
		dst = strconv.AppendInt(append(dst, '['), int64(a.lower[i]), 10)
		dst = strconv.AppendInt(append(dst, ':'), int64(a.lower[i]+a.dims[i]-1), 10)
		dst = append(dst, ']')
	}
	return append(dst, '=')
}

type arrayWriter struct {
	f       *Formatter
	a       *arrayData
	elem    *Type
	depth   int
	n       int // elements done
	off     int // of the next in a.data
	scratch []byte
}

func (w *arrayWriter) level(dst []byte, dim int) (_ []byte, err error) {
	dst = append(dst, '{')
	for i := range w.a.dims[dim] {
		if i > 0 {
			delim := w.elem.Delim
			if delim == 0 {
				delim = ','
			}
			dst = append(dst, delim)
		}
		if dim+1 < len(w.a.dims) {
			dst, err = w.level(dst, dim+1)
		} else {
			dst, err = w.element(dst)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func (w *arrayWriter) element(dst []byte) ([]byte, error) {
	w.n++
	if w.a.isNull(w.n - 1) {
		return append(dst, "NULL"...), nil
	}
	stored, end, err := Next(w.a.data, w.off, w.elem.Len, w.elem.Align)
	if err != nil {
		return nil, err
	}
	w.off = end
	if w.scratch, err = w.f.append(w.scratch[:0], w.elem, stored, w.depth); err != nil {
		return nil, err
	}
	s := w.scratch
	if len(s) == 0 || bytes.EqualFold(s, []byte("NULL")) || bytes.IndexByte(s, w.elem.Delim) >= 0 || bytes.ContainsAny(s, "\"\\{} \t\n\r\v\f") {
		return appendQuoted(dst, s, '\\'), nil
	}
	return append(dst, s...), nil
}

// Offsets in a composite value from its varlena's start, which is a tuple's
// header (access/htup_details.h).
const (
	tupleInfomask2 = 18
	tupleInfomask  = 20
	tupleHoff      = 22
	tupleBits      = 23

	heapHasNull  = 0x0001
	heapNatts    = 0x07FF
	varlenHeader = 4
)

// record is record_out.
func (f *Formatter) record(dst []byte, t *Type, v []byte, depth int) ([]byte, error) {
	if len(v) < tupleBits-varlenHeader {
		return nil, errShort
	}
	natts := int(le16(v[tupleInfomask2-varlenHeader:]) & heapNatts)
	hasNull := v[tupleInfomask-varlenHeader]&heapHasNull != 0
	start := int(v[tupleHoff-varlenHeader]) - varlenHeader
	bits := v[tupleBits-varlenHeader:]
	if start < 0 || start > len(v) || hasNull && len(bits) < (natts+7)/8 {
		return nil, errShort
	}
	data, off, first := v[start:], 0, true
	var scratch []byte
	dst = append(dst, '(')
	for i, field := range t.Fields {
		null := i >= natts || hasNull && bits[i/8]>>(i%8)&1 == 0
		var stored []byte
		var err error
		if !null {
			if stored, off, err = Next(data, off, field.Len, field.Align); err != nil {
				return nil, err
			}
		}
		if field.Type == nil {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if null {
			continue
		}
		if scratch, err = f.append(scratch[:0], field.Type, stored, depth+1); err != nil {
			return nil, err
		}
		if len(scratch) == 0 || bytes.ContainsAny(scratch, "\"\\(), \t\n\r\v\f") {
			dst = appendQuoted(dst, scratch, 0)
		} else {
			dst = append(dst, scratch...)
		}
	}
	return append(dst, ')'), nil
}

// Flags of a range (utils/rangetypes.h).
const (
	rangeEmpty     = 0x01
	rangeLowerIncl = 0x02
	rangeUpperIncl = 0x04
	rangeLowerInf  = 0x08
	rangeUpperInf  = 0x10
)

// rangeType is range_out: the type's OID, the bounds that there are, and a byte
// of flags.
func (f *Formatter) rangeType(dst []byte, t *Type, v []byte, depth int) ([]byte, error) {
	if len(v) < 5 {
		return nil, errShort
	}
	dst, err := f.bounds(dst, t.Elem, v[4:len(v)-1], 0, v[len(v)-1], depth)
	return dst, err
}

// bounds appends a range whose bounds begin at data[off].
func (f *Formatter) bounds(dst []byte, t *Type, data []byte, off int, flags byte, depth int) ([]byte, error) {
	if flags&rangeEmpty != 0 {
		return append(dst, "empty"...), nil
	}
	open, end := byte('('), byte(')')
	if flags&rangeLowerIncl != 0 {
		open = '['
	}
	if flags&rangeUpperIncl != 0 {
		end = ']'
	}
	dst = append(dst, open)
	var err error
	if flags&rangeLowerInf == 0 {
		if dst, off, err = f.bound(dst, t, data, off, depth); err != nil {
			return nil, err
		}
	}
	dst = append(dst, ',')
	if flags&rangeUpperInf == 0 {
		if dst, _, err = f.bound(dst, t, data, off, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, end), nil
}

func (f *Formatter) bound(dst []byte, t *Type, data []byte, off, depth int) ([]byte, int, error) {
	stored, end, err := Next(data, off, t.Len, t.Align)
	if err != nil {
		return nil, 0, err
	}
	s, err := f.append(nil, t, stored, depth+1)
	if err != nil {
		return nil, 0, err
	}
	if len(s) == 0 || bytes.ContainsAny(s, "\"\\()[], \t\n\r\v\f") {
		return appendQuoted(dst, s, 0), end, nil
	}
	return append(dst, s...), end, nil
}

// multirange is multirange_out (utils/multirangetypes.h): the type's OID, the
// number of ranges, a word for each range but the first with its place (bit 31) or
// the length of the one before, a byte of flags for each, and the bounds.
func (f *Formatter) multirange(dst []byte, t *Type, v []byte, depth int) ([]byte, error) {
	if len(v) < 8 {
		return nil, errShort
	}
	n := int(le32(v[4:]))
	if n == 0 {
		return append(dst, "{}"...), nil
	}
	if n < 0 || n > len(v)/5+1 {
		return nil, errShort
	}
	items, flags := 8, 8+4*(n-1)
	start, err := align(flags+n+varlenHeader, t.Elem.Align)
	if err != nil {
		return nil, err
	}
	if start -= varlenHeader; start > len(v) {
		if start = flags + n; start > len(v) { // no bounds at all follow, so nothing is padded
			return nil, errShort
		}
	}
	// data begins at an aligned place of the varlena: its 8th byte.
	data, at := v[4:], start-4
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
			it := le32(v[items+4*(i-1):])
			if it>>31 != 0 {
				at = start - 4 + int(it&0x7FFFFFFF)
			} else {
				at += int(it)
			}
		}
		if dst, err = f.bounds(dst, t.Elem, data, at, v[flags+i], depth); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}
