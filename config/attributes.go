package config

import (
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/walplex/walplex/sdk/wal"
)

// attributes reads the attributes of one block of the language itself. Each
// method reports what is wrong and answers false where there is no value: it is
// absent, null, wrong, or made of something that was reported before.
type attributes struct {
	l     *loader
	block *hclsyntax.Block
}

func attributesOf(l *loader, b *hclsyntax.Block) attributes { return attributes{l, b} }

// at is the range of an attribute's value, of the block's header without one.
func (as attributes) at(name string) hcl.Range {
	if a := as.block.Body.Attributes[name]; a != nil {
		return a.Expr.Range()
	}
	return as.block.DefRange()
}

// bad reports what is wrong with an attribute's value.
func (as attributes) bad(name string, e *plainError) {
	as.l.rep.error(as.at(name), name+": "+e.summary, e.hint)
}

// presence says whether an attribute has a value.
type presence int

const (
	absent presence = iota // or null
	wrong                  // a problem with it has been reported
	present
)

// value is [attributes.read] for attributes that may be absent.
func (as attributes) value(name string, want cty.Type, u use) (cty.Value, bool) {
	v, p := as.read(name, want, u)
	return v, p == present
}

// required is [attributes.read] for an attribute without which nothing works.
func (as attributes) required(name string, want cty.Type, u use, hint string) (cty.Value, bool) {
	v, p := as.read(name, want, u)
	if p == absent {
		as.l.rep.error(as.at(name), "missing required attribute "+quote(name), hint)
	}
	return v, p == present
}

// read evaluates and converts. Settings that are shown take no sensitive value.
func (as attributes) read(name string, want cty.Type, u use) (cty.Value, presence) {
	a := as.block.Body.Attributes[name]
	if a == nil {
		return cty.NilVal, absent
	}
	v := as.l.scope.eval(as.l.rep, a, u)
	v, marks := v.UnmarkDeep()
	if _, secret := marks[markSensitive]; secret && !u.sensitive {
		as.bad(name, &plainError{"takes no sensitive value", "it is shown in logs and in the status"})
		return cty.NilVal, wrong
	}
	if !v.IsWhollyKnown() {
		return cty.NilVal, wrong
	}
	if v.IsNull() {
		return cty.NilVal, absent
	}
	if u.sensitive {
		as.l.scope.keepTexts(v, !u.words)
	} else {
		as.l.scope.keepSecret(v, marks)
	}
	converted, problem := convertTo(v, want)
	if problem != "" {
		as.bad(name, &plainError{problem, ""})
		return cty.NilVal, wrong
	}
	return converted, present
}

// convertTo makes a known value one of the wanted type. The problem names types
// only, never values.
func convertTo(v cty.Value, want cty.Type) (cty.Value, string) {
	got := v.Type()
	problem := "must be " + typeName(want) + ", not " + typeName(got)
	if got.IsPrimitiveType() && want.IsPrimitiveType() && got != want {
		problem = "must be " + typeName(want)
	}
	if !allReasonable(v) {
		return cty.NilVal, "holds a number out of range"
	}
	converted, err := convert.Convert(v, want)
	if err != nil {
		return cty.NilVal, problem
	}
	if !allReasonable(converted) {
		return cty.NilVal, "holds a number out of range"
	}
	if !converted.IsNull() && hasNullInside(converted) {
		return cty.NilVal, "must not hold null"
	}
	return converted, ""
}

func allReasonable(v cty.Value) bool {
	ok := true
	_ = cty.Walk(v, func(_ cty.Path, leaf cty.Value) (bool, error) {
		ok = ok && reasonable(leaf)
		return ok, nil
	})
	return ok
}

// hasNullInside finds null among the elements of lists, sets and maps. An
// attribute of an object may be null: it is how an optional one is absent.
func hasNullInside(v cty.Value) bool {
	if v.IsNull() || !v.CanIterateElements() {
		return false
	}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if e.IsNull() && !v.Type().IsObjectType() || hasNullInside(e) {
			return true
		}
	}
	return false
}

// typeName is a type in words, without the names that an object's keys bring.
func typeName(t cty.Type) string {
	switch {
	case t == cty.DynamicPseudoType:
		return "any value"
	case t == cty.String:
		return "a string"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsListType(), t.IsSetType():
		return "a list (each element " + typeName(t.ElementType()) + ")"
	case t.IsMapType():
		return "a map (each value " + typeName(t.ElementType()) + ")"
	case t.IsTupleType():
		return "a list"
	case t.IsObjectType():
		return "an object"
	}
	return "another type"
}

func (as attributes) text(name string) (string, bool) {
	v, ok := as.value(name, cty.String, use{})
	if !ok {
		return "", false
	}
	return v.AsString(), true
}

func (as attributes) flag(name string) (value, ok bool) { return as.flagOf(name, use{}) }

func (as attributes) flagOf(name string, u use) (value, ok bool) {
	v, ok := as.value(name, cty.Bool, u)
	return ok && v.True(), ok
}

// constantFlag is false when absent.
func (as attributes) constantFlag(name string) bool {
	v, _ := as.flagOf(name, use{constant: true})
	return v
}

func (as attributes) constantText(name string) {
	as.value(name, cty.String, use{constant: true})
}

func (as attributes) texts(name string) []string {
	v, ok := as.value(name, cty.List(cty.String), use{})
	if !ok {
		return nil
	}
	var list []string
	for _, e := range v.AsValueSlice() {
		list = append(list, e.AsString())
	}
	return list
}

// secretTexts is a map whose values are secrets.
func (as attributes) secretTexts(name string) map[string]Secret {
	v, ok := as.value(name, cty.Map(cty.String), use{sensitive: true, words: true})
	if !ok {
		return nil
	}
	m := map[string]Secret{}
	for k, e := range v.AsValueMap() {
		m[k] = NewSecret(e.AsString())
	}
	return m
}

// interval is a duration above zero.
func (as attributes) interval(name string, absent time.Duration) time.Duration {
	s, ok := as.text(name)
	if !ok {
		return absent
	}
	d, problem := parseDuration(s)
	switch {
	case problem != nil:
		as.bad(name, problem)
	case d == 0:
		as.bad(name, &plainError{"must be above zero", `write a duration such as "10s"`})
	default:
		return d
	}
	return absent
}

// size is a number of bytes, as text or as a number.
func (as attributes) size(name string) (int64, bool) {
	v, ok := as.value(name, cty.DynamicPseudoType, use{})
	if !ok {
		return 0, false
	}
	if v.Type() != cty.String && v.Type() != cty.Number {
		as.bad(name, errBytes)
		return 0, false
	}
	n, problem := sizeOf(v)
	if problem != nil {
		as.bad(name, problem)
		return 0, false
	}
	return n, true
}

func (as attributes) lsn(name string) wal.LSN {
	s, ok := as.text(name)
	if !ok {
		return 0
	}
	l, err := wal.ParseLSN(strings.TrimSpace(s))
	switch {
	case err != nil: // err repeats the value
		as.bad(name, errLSN)
	case l == 0:
		as.bad(name, &plainError{"0/0 is no position", "leave " + name + " out to begin where the server is"})
	}
	return l
}

// path is a path made absolute from the directory of the file.
func (as attributes) path(name string) (string, bool) {
	v, ok := as.value(name, cty.String, use{})
	if !ok {
		return "", false
	}
	return as.resolve(name, v.AsString())
}

func (as attributes) resolve(name, s string) (string, bool) {
	p, problem := resolvePath(as.l.scope.dirOf(as.at(name).Filename), s)
	if problem != nil {
		as.bad(name, problem)
		return "", false
	}
	return p, true
}

func (as attributes) paths(name string) []string {
	list := as.texts(name)
	for i, s := range list {
		p, problem := resolvePath(as.l.scope.dirOf(as.at(name).Filename), s)
		if problem != nil {
			as.bad(name, problem)
			return nil
		}
		list[i] = p
	}
	return list
}

func resolvePath(dir, path string) (string, *plainError) {
	switch {
	case path == "":
		return "", &plainError{"empty path", "write the path, relative to the directory of this file or absolute"}
	case strings.ContainsRune(path, 0):
		return "", &plainError{"path with a NUL character", "no file name can hold one"}
	case path == "~" || strings.HasPrefix(path, "~/"):
		return "", &plainError{"~ is not expanded in a path", `write the directory out, or "${env("HOME")}/…"`}
	case filepath.IsAbs(path):
		return filepath.Clean(path), nil
	}
	return filepath.Join(dir, path), nil
}

// hostPort is an address to listen at.
func (as attributes) hostPort(name string) string {
	s, ok := as.text(name)
	if !ok {
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil && (port == "" || strings.ContainsAny(host, " /")) {
		err = net.InvalidAddrError("port or host")
	}
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		as.bad(name, &plainError{"must be HOST:PORT", `write an address such as "127.0.0.1:9187" or "[::1]:9187"`})
		return ""
	}
	return s
}
