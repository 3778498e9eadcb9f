package pgtext

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// allOutputs are the output functions that are known here.
var allOutputs = []string{
	"boolout", "charout", "int2out", "int4out", "oidout", "xidout", "cidout", "float4out", "date_out", "regclassout", "tidout", "macaddr_out",
	"int8out", "xid8out", "float8out", "cash_out", "time_out", "timestamp_out", "timestamptz_out", "pg_lsn_out", "macaddr8_out", "timetz_out",
	"interval_out", "uuid_out", "point_out", "circle_out", "line_out", "lseg_out", "box_out", "nameout",
	"textout", "varcharout", "bpcharout", "json_out", "unknownout", "pg_node_tree_out", "xml_out", "byteaout", "numeric_out", "inet_out", "cidr_out",
	"bit_out", "varbit_out", "path_out", "poly_out", "jsonb_out", "tsvectorout", "tsqueryout", "int2vectorout", "oidvectorout", "pg_snapshot_out",
	HstoreOut,
}

func typeOf(output string) *Type {
	t := &Type{Name: output, Len: -1, Align: 'i', Delim: ',', Output: output}
	if n, ok := fixedLen(output); ok {
		t.Len = int16(n)
	}
	return t
}

// containers are types with others in them.
func containers() []*Type {
	num, text, i8 := typeOf("numeric_out"), typeOf("textout"), typeOf("int8out")
	i8.Align = 'd'
	record := &Type{Name: "record", Len: -1, Align: 'd', Output: "record_out", Fields: []Field{{num, -1, 'i'}, {nil, 4, 'i'}, {text, -1, 'i'}, {i8, 8, 'd'}}}
	all := []*Type{record, {Name: "enum", Len: 4, Align: 'i', Output: "enum_out", Labels: map[wal.OID]string{1: "one"}}}
	for _, elem := range []*Type{num, text, i8, record} {
		for _, out := range []string{"array_out", "range_out", "multirange_out"} {
			all = append(all, &Type{Name: out, Len: -1, Align: 'i', Delim: ',', Output: out, Elem: elem})
		}
	}
	return all
}

func TestSupported(t *testing.T) {
	for _, out := range allOutputs {
		if err := Supported(typeOf(out)); err != nil {
			t.Error(err)
		}
	}
	for _, c := range containers() {
		if err := Supported(c); err != nil {
			t.Error(err)
		}
	}
	unknown := &Type{Name: "strange", Len: -1, Output: "strange_out"}
	for _, c := range []*Type{unknown, {Output: "array_out", Elem: unknown}, {Output: "record_out", Fields: []Field{{}, {Type: unknown}}}, {Output: "range_out"}} {
		if err := Supported(c); err == nil {
			t.Errorf("%+v is supported", c)
		}
	}
	if _, err := (&Formatter{}).Append(nil, unknown, []byte{3}); err == nil || !strings.Contains(err.Error(), "strange_out") {
		t.Errorf("a value of an unknown type: %v", err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDamage: what a server never writes is an error.
func TestDamage(t *testing.T) {
	for _, tt := range []struct{ output, stored string }{
		{"textout", ""},
		{"textout", "0c000000 6162"}, // shorter than its header says
		{"textout", "0112 0000000000000000000000000000000000"}, // out of line, and too long
		{"textout", "0113 00000000000000000000000000000000"},   // another tag
		{"textout", "12000000 ffffff00"},                       // compressed
		{"textout", "2a000000 040000c0 61626364 6162"},         // an unknown method
		{"numeric_out", "05 0080"},                             // half a header
		{"numeric_out", "0b 0080 1027 0000"},                   // the digit 10000
		{"numeric_out", "07 00e0 0000"},                        // no such special value
		{"inet_out", "0d 0220 010203"},                         // shorter than its header says
		{"inet_out", "0f 0221 01020304"},                       // 33 bits
		{"inet_out", "0f 0420 01020304"},                       // no family
		{"jsonb_out", "0b 01000040 00"},                        // no entry
		{"jsonb_out", "13 01000040 05000000 61"},
		{"varbit_out", "0d 20000000 ff00"},
		{"tsvectorout", "0b ffffff7f 00"},
		{"path_out", "1b 02000000 01000000 00000000 00"},
		{"int4out", "0000"},
		{"time_out", "ffffffffffffffff"},
	} {
		got, err := (&Formatter{Version: wal.PG15}).Append(nil, typeOf(tt.output), unhex(t, tt.stored))
		if err == nil {
			t.Errorf("%s of %s is %q", tt.output, tt.stored, got)
		}
	}
	lost := errors.New("lost")
	f := &Formatter{Fetch: func(e External) ([]byte, error) {
		if e.ValueID == 7 && e.ToastRelID == 8 && e.Size == 4 {
			return []byte("four"), nil
		}
		return nil, lost
	}}
	for _, tt := range []struct{ stored, want string }{
		{"0112 08000000 04000000 07000000 08000000", "four"},
		{"0112 09000000 05000000 07000000 08000000", ""},
		{"0112 07000000 04000000 07000000 08000000", ""}, // another length
	} {
		got, err := f.Append(nil, typeOf("textout"), unhex(t, tt.stored))
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", tt.stored, got, err)
		}
	}
}

// FuzzAppend: no bytes make a panic, or an output without bounds.
func FuzzAppend(f *testing.F) {
	f.Add(uint8(0), []byte{1})
	f.Add(uint8(38), []byte{0x0b, 0x00, 0x81, 0x01, 0x00})
	f.Add(uint8(45), []byte("\x30\x00\x00\x00\x01\x00\x00\x20\x01\x00\x00\x00\x01\x00\x00\x00ab"))
	types := containers()
	for _, out := range allOutputs {
		types = append(types, typeOf(out))
	}
	for i, t := range types {
		f.Add(uint8(i), bytes.Repeat([]byte{byte(max(t.Len, 0))}, 48))
	}
	f.Fuzz(func(t *testing.T, n uint8, data []byte) {
		ty := types[int(n)%len(types)]
		form := &Formatter{Version: wal.PG17, Fetch: func(External) ([]byte, error) { return data, nil }}
		stored, end, err := Next(data, 0, ty.Len, ty.Align)
		if err != nil {
			return
		}
		if end > len(data) {
			t.Fatalf("a value ends at %d of %d", end, len(data))
		}
		out, err := form.Append(nil, ty, stored)
		if err == nil && len(out) > 1<<26 {
			t.Fatalf("%d bytes make %d", len(data), len(out))
		}
		_, _ = form.Element(data, ty.Len, 'i')
	})
}
