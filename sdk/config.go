package sdk

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/walplex/walplex/sdk/wire"
)

// ConfigSchema reads the schema of a config block from a struct's tags. A field
// with a walplex tag is an attribute, or, when it is a struct, a pointer to one
// or a slice of them, a nested block:
//
//	Directory string        `walplex:"directory,required" format:"path" doc:"where the segments lie"`
//	Rotate    int64         `walplex:"rotate_bytes" format:"bytes" default:"256MiB"`
//	Every     time.Duration `walplex:"every" default:"10s"`
//	Token     string        `walplex:"token,sensitive"`
//	Labels    map[string]string `walplex:"labels"`
//	Route     []Route       `walplex:"route"`
//
// Fields are string, bool, int, int64, float64, time.Duration, []string or
// map[string]string, and blocks. A *T block may be absent, a T block must be
// there once, a []T any number of times. It returns an error for a struct that
// does not fit, which is the author's to mend.
func ConfigSchema(t reflect.Type) (*wire.Schema, error) { return configSchema(t, 0) }

// maxBlockDepth bounds blocks inside each other, as the host does.
const maxBlockDepth = 10

func configSchema(t reflect.Type, depth int) (*wire.Schema, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the configuration of a sink is a struct, not %s", t)
	}
	if depth > maxBlockDepth {
		return nil, fmt.Errorf("more than %d blocks inside each other", maxBlockDepth)
	}
	s := &wire.Schema{}
	names := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("walplex")
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		err := addField(s, f, name, opts, depth)
		if err == nil && names[name] {
			err = fmt.Errorf("%q is the name of another field too", name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		names[name] = true
	}
	return s, nil
}

func addField(s *wire.Schema, f reflect.StructField, name, opts string, depth int) error {
	if !f.IsExported() || name == "" {
		return fmt.Errorf("a field with a walplex tag is exported and the tag begins with a name")
	}
	if b, err := nestedBlock(name, f, depth); b != nil || err != nil {
		if err == nil && opts != "" {
			err = fmt.Errorf("a block has no options: its type says how often it may be there")
		}
		s.Blocks = append(s.Blocks, b)
		return err
	}
	a := &wire.Attribute{Name: name, Description: f.Tag.Get("doc"), Format: f.Tag.Get("format")}
	for o := range strings.SplitSeq(opts, ",") {
		switch o {
		case "":
		case "required":
			a.Required = true
		case "sensitive":
			a.Sensitive = true
		default:
			return fmt.Errorf("unknown option %q in its walplex tag", o)
		}
	}
	ctyType, ok := ctyTypeOf(f.Type)
	if !ok {
		return fmt.Errorf("a configuration cannot hold %s", f.Type)
	}
	a.TypeJson = []byte(ctyType)
	if f.Type == reflect.TypeFor[time.Duration]() {
		a.Format = "duration"
	}
	if def, ok := f.Tag.Lookup("default"); ok {
		j, err := defaultJSON(f.Type, a.Format, def)
		if err != nil {
			return fmt.Errorf("default %q: %w", def, err)
		}
		a.DefaultJson = j
	}
	s.Attributes = append(s.Attributes, a)
	return nil
}

// nestedBlock is the block that a field stands for, nil when it is an attribute.
func nestedBlock(name string, f reflect.StructField, depth int) (*wire.NestedBlock, error) {
	t, b := f.Type, &wire.NestedBlock{Name: name, Description: f.Tag.Get("doc")}
	switch {
	case t.Kind() == reflect.Struct:
		b.MinItems, b.MaxItems = 1, 1
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		b.MaxItems, t = 1, t.Elem()
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		t = t.Elem()
	default:
		return nil, nil
	}
	inner, err := configSchema(t, depth+1)
	b.Schema = inner
	return b, err
}

func ctyTypeOf(t reflect.Type) (string, bool) {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return `"string"`, true
	case t.Kind() == reflect.String:
		return `"string"`, true
	case t.Kind() == reflect.Bool:
		return `"bool"`, true
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64, t.Kind() == reflect.Float64:
		return `"number"`, true
	case t == reflect.TypeFor[[]string]():
		return `["list","string"]`, true
	case t == reflect.TypeFor[map[string]string]():
		return `["map","string"]`, true
	}
	return "", false
}

func defaultJSON(t reflect.Type, format, def string) ([]byte, error) {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(def); err != nil {
			return nil, err
		}
		return json.Marshal(def)
	case t.Kind() == reflect.String:
		return json.Marshal(def)
	case t.Kind() == reflect.Bool:
		v, err := strconv.ParseBool(def)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	case format == "bytes":
		n, err := ParseBytes(def)
		if err != nil {
			return nil, err
		}
		return json.Marshal(n)
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		n, err := strconv.ParseInt(def, 10, 64)
		if err != nil {
			return nil, err
		}
		return json.Marshal(n)
	case t.Kind() == reflect.Float64:
		n, err := strconv.ParseFloat(def, 64)
		if err != nil {
			return nil, err
		}
		return json.Marshal(n) // refuses what JSON has no number for
	}
	return nil, fmt.Errorf("a %s has no default", t)
}

// ParseBytes reads a size such as 16MiB: a whole number and one of B, KiB, MiB,
// GiB, TiB, kB, MB, GB, TB or nothing.
func ParseBytes(s string) (int64, error) {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		i = len(s)
	}
	unit, ok := byteUnits[strings.TrimSpace(s[i:])]
	n, err := strconv.ParseInt(s[:i], 10, 64)
	if err != nil || !ok || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size: write a whole number and B, KiB, MiB, GiB or TiB", s)
	}
	return n * unit, nil
}

var byteUnits = map[string]int64{
	"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// decodeConfig fills a struct of type t from what the host decoded against its
// schema.
func decodeConfig(t reflect.Type, config []byte) (any, error) {
	v := reflect.New(t)
	if len(config) == 0 {
		config = []byte("{}")
	}
	if err := decodeStruct(v.Elem(), config); err != nil {
		return nil, fmt.Errorf("configuration from the host: %w", err)
	}
	return v.Interface(), nil
}

func decodeStruct(v reflect.Value, data []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("walplex")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		raw, ok := m[name]
		if !ok || string(raw) == "null" {
			if err := decodeDefault(v.Field(i), v.Type().Field(i)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		if err := decodeField(v.Field(i), raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func decodeDefault(v reflect.Value, f reflect.StructField) error {
	def, ok := f.Tag.Lookup("default")
	if !ok {
		return nil
	}
	j, err := defaultJSON(f.Type, f.Tag.Get("format"), def)
	if err != nil {
		return err
	}
	return decodeField(v, j)
}

func decodeField(v reflect.Value, raw []byte) error {
	t := v.Type()
	switch {
	case t == reflect.TypeFor[time.Duration]():
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		d, err := time.ParseDuration(s)
		v.SetInt(int64(d))
		return err
	case t.Kind() == reflect.Struct:
		return decodeStruct(v, raw)
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return decodeStruct(v.Elem(), raw)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(t, len(items), len(items)))
		for i, item := range items {
			if err := decodeStruct(v.Index(i), item); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	}
	return json.Unmarshal(raw, v.Addr().Interface())
}
