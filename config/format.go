package config

import (
	"fmt"
	"math/big"

	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/sdk/wal"
)

// format says how a schema's strings and numbers are read.
type format string

const (
	formatNone     format = ""
	formatDuration format = "duration"
	formatBytes    format = "bytes"
	formatLSN      format = "lsn"
	formatPath     format = "path"
)

// fits reports a format that the type cannot have.
func (f format) fits(want cty.Type) error {
	leaf := leafType(want)
	switch f {
	case formatNone:
		return nil
	case formatDuration, formatBytes, formatLSN:
		if leaf == cty.String || leaf == cty.Number {
			return nil
		}
	case formatPath:
		if leaf == cty.String {
			return nil
		}
	default:
		return fmt.Errorf("its format %s is not known to this version", quote(string(f)))
	}
	return fmt.Errorf("its type cannot have the format %s", quote(string(f)))
}

// leafType is the type of the elements, however deep.
func leafType(t cty.Type) cty.Type {
	for t.IsCollectionType() {
		t = t.ElementType()
	}
	return t
}

// apply reads every string and number inside v.
func (f format) apply(v cty.Value, want cty.Type, dir string) (cty.Value, *plainError) {
	if f == formatNone {
		return v, nil
	}
	asNumber := leafType(want) == cty.Number
	var problem *plainError
	out, err := cty.Transform(v, func(_ cty.Path, leaf cty.Value) (cty.Value, error) {
		if leaf.IsNull() || leaf.Type() != cty.String && leaf.Type() != cty.Number {
			return leaf, nil
		}
		read, p := f.leaf(leaf, asNumber, dir)
		if p != nil {
			problem = p
			return leaf, p
		}
		return read, nil
	})
	if problem != nil {
		return cty.NilVal, problem
	}
	if err != nil {
		return cty.NilVal, &plainError{"cannot be read", ""}
	}
	return out, nil
}

func (f format) leaf(v cty.Value, asNumber bool, dir string) (cty.Value, *plainError) {
	isText := v.Type() == cty.String
	switch f {
	case formatDuration:
		if !isText {
			return v, errDuration
		}
		d, problem := parseDuration(v.AsString())
		return choose(asNumber, cty.NumberIntVal(int64(d)), cty.StringVal(d.String())), problem
	case formatBytes:
		n, problem := sizeOf(v)
		return choose(asNumber, cty.NumberIntVal(n), cty.StringVal(fmt.Sprint(n))), problem
	case formatLSN:
		if !isText {
			return v, errLSN
		}
		l, err := wal.ParseLSN(v.AsString())
		if err != nil { // err repeats the value
			return v, errLSN
		}
		return choose(asNumber, cty.NumberUIntVal(uint64(l)), cty.StringVal(l.String())), nil
	case formatPath:
		if !isText {
			return v, &plainError{"not a path", "write a string"}
		}
		p, problem := resolvePath(dir, v.AsString())
		return cty.StringVal(p), problem
	}
	return v, nil
}

func choose(first bool, a, b cty.Value) cty.Value {
	if first {
		return a
	}
	return b
}

// sizeOf reads a size in bytes from text or number.
func sizeOf(v cty.Value) (int64, *plainError) {
	if v.Type() == cty.String {
		return parseBytes(v.AsString())
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != big.Exact || n < 0 {
		return 0, errBytes
	}
	return n, nil
}
