package pgtext

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// Type is what a value's text needs to know of its type.
type Type struct {
	OID    wal.OID
	Name   string             // for errors
	Len    int16              // pg_type.typlen
	Align  byte               // pg_type.typalign
	Delim  byte               // pg_type.typdelim
	Output string             // name of the output function in C; of a domain, its base type's
	Elem   *Type              // of an array its elements', of a range or multirange the bounds'
	Fields []Field            // of a composite type
	Labels map[wal.OID]string // of an enum
}

// Field is a column of a composite type.
type Field struct {
	Type  *Type // nil where the column was dropped
	Len   int16 // pg_attribute.attlen
	Align byte  // pg_attribute.attalign
}

// Formatter makes text of values. It serves one goroutine at a time.
type Formatter struct {
	Version wal.Version
	// Fetch reads a value's bytes out of line, [External.Size] of them.
	Fetch func(External) ([]byte, error)
}

// Append appends the text of a stored value that is not NULL.
func (f *Formatter) Append(dst []byte, t *Type, stored []byte) ([]byte, error) {
	out, err := f.append(dst, t, stored, 0)
	if err != nil {
		return dst, fmt.Errorf("a value of type %s: %w", t.Name, err)
	}
	return out, nil
}

// maxDepth bounds how deep values of types and documents lie in each other.
const maxDepth = 6500

func (f *Formatter) append(dst []byte, t *Type, stored []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values lie in each other deeper than %d", maxDepth)
	}
	v := stored
	switch {
	case t.Len == -1:
		var err error
		if v, err = f.payload(stored); err != nil {
			return nil, err
		}
	case t.Len == -2:
		v = stored[:max(len(stored)-1, 0)]
	case len(stored) != int(t.Len):
		return nil, fmt.Errorf("%d bytes are stored, want %d", len(stored), t.Len)
	}
	switch t.Output {
	case "array_out":
		return f.array(dst, t, v, depth)
	case "record_out":
		return f.record(dst, t, v, depth)
	case "range_out":
		return f.rangeType(dst, t, v, depth)
	case "multirange_out":
		return f.multirange(dst, t, v, depth)
	case "enum_out":
		return enum(dst, t, v)
	}
	if want, ok := fixedLen(t.Output); ok && want != len(v) {
		return nil, fmt.Errorf("%d bytes are stored, %s takes %d", len(v), t.Output, want)
	}
	if out, ok, err := f.fixed(dst, t.Output, v); ok {
		return out, err
	}
	if out, ok, err := variable(dst, t.Output, v); ok {
		return out, err
	}
	return nil, unsupported(t)
}

// Supported reports whether values of the type, and of all types in it, can be
// made text of; the error names the type that cannot.
func Supported(t *Type) error {
	switch t.Output {
	case "array_out", "range_out", "multirange_out":
		if t.Elem == nil {
			return unsupported(t)
		}
		return Supported(t.Elem)
	case "record_out":
		for _, field := range t.Fields {
			if field.Type != nil {
				if err := Supported(field.Type); err != nil {
					return err
				}
			}
		}
		return nil
	case "enum_out":
		return nil
	}
	if _, ok := fixedLen(t.Output); ok || isVariable(t.Output) {
		return nil
	}
	return unsupported(t)
}

func unsupported(t *Type) error {
	return fmt.Errorf("the output function %q of type %s is not known here", t.Output, t.Name)
}

// enum is enum_out.
func enum(dst []byte, t *Type, v []byte) ([]byte, error) {
	if len(v) != 4 {
		return nil, errShort
	}
	oid := wal.OID(le32(v))
	label, ok := t.Labels[oid]
	if !ok {
		return nil, fmt.Errorf("no label has the OID %d", oid)
	}
	return append(dst, label...), nil
}
