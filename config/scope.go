package config

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// scope is what expressions are evaluated in. After Load it is only read.
//
// It hangs in the public types, which people print: fmt follows one pointer, with
// a wrong verb, so everything in it that holds a value is behind another.
type scope struct {
	source  *source
	secrets *secrets
	env     func(string) (string, bool)
	vars    *variables
}

// variables are the values of declared variables; unknown where one is missing.
type variables struct{ values map[string]cty.Value }

// functionsOf are the functions as they work in the file.
func (sc *scope) functionsOf(filename string) map[string]function.Function {
	if f := sc.source.files[filename]; f != nil {
		return f.functions
	}
	return nil
}

// dirOf is where relative paths of the file start.
func (sc *scope) dirOf(filename string) string {
	if f := sc.source.files[filename]; f != nil {
		return f.dir
	}
	return ""
}

// use says how an attribute's value may be treated.
type use struct {
	sensitive bool // the value is a secret, its literals included
	words     bool // a secret value may be an ordinary word: short ones are not looked for in texts
	constant  bool // no reference to variables
	record    bool // attributes of record may occur: a filter's
}

// vetted is what an expression's form tells before it is evaluated.
type vetted struct {
	foreign bool // may hold a secret: calls env(), file() or what is unknown, or uses a marked variable
	vars    bool // uses variables
}

// eval evaluates an attribute. Problems are reported; the value is then unknown.
// It comes with its marks.
func (sc *scope) eval(rep *report, a *hclsyntax.Attribute, u use) cty.Value {
	before := rep.errors
	v := sc.vet(rep, a, u)
	if rep.errors > before {
		return cty.DynamicVal
	}
	return sc.evalExpr(rep, a.Expr, a.SrcRange.Filename, u, v)
}

// evalExpr evaluates an expression, or a part of one, that has been vetted.
func (sc *scope) evalExpr(rep *report, e hclsyntax.Expression, filename string, u use, v vetted) cty.Value {
	val, diags := e.Value(&hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(sc.vars.values)},
		Functions: sc.functionsOf(filename),
	})
	for _, d := range diags {
		at := e.Range()
		if d.Subject != nil {
			at = *d.Subject
		}
		summary, detail := evalMessage(d, !u.sensitive && !v.foreign && !v.vars)
		rep.error(at, summary, detail)
	}
	if diags.HasErrors() {
		return cty.DynamicVal
	}
	return val
}

// vet checks the form of an attribute's expression, and allows it to be shown
// where it cannot hold a secret.
func (sc *scope) vet(rep *report, a *hclsyntax.Attribute, u use) vetted {
	var v vetted
	for _, t := range a.Expr.Variables() {
		if u.record && t.RootName() == recordName {
			continue
		}
		if name, ok := varName(t); ok && len(sc.vars.values[name].Marks()) > 0 {
			v.foreign = true
		}
		v.vars = true
	}
	calls := callsOf(a.Expr)
	functions := sc.functionsOf(a.SrcRange.Filename)
	for _, c := range calls { // an unknown one may be a misspelt env()
		_, known := functions[c.Name]
		v.foreign = v.foreign || !known || slices.Contains(foreignFunctions, c.Name)
	}
	if !u.sensitive && !v.foreign {
		sc.source.reveal(a)
	}
	sc.vetForm(rep, a.Expr)
	for _, t := range a.Expr.Variables() {
		sc.vetReference(rep, t, u)
	}
	for _, c := range calls {
		if _, known := functions[c.Name]; known {
			continue
		}
		summary := "unknown function"
		if !u.sensitive {
			summary += " " + quote(c.Name)
		}
		rep.error(c.NameRange, summary, suggest(c.Name, slices.Collect(maps.Keys(functions))))
	}
	return v
}

func callsOf(expr hclsyntax.Expression) []*hclsyntax.FunctionCallExpr {
	var calls []*hclsyntax.FunctionCallExpr
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		if c, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			calls = append(calls, c)
		}
		return nil
	})
	return calls
}

// maxExponent bounds numbers to ±2^maxExponent: the digits of larger ones would
// fill the memory.
const maxExponent = 4096

// vetForm refuses expressions that could run long.
func (sc *scope) vetForm(rep *report, expr hclsyntax.Expression) {
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.ForExpr:
			rep.error(e.OpenRange, "for expressions are not part of this language", "write the list out")
		case *hclsyntax.LiteralValueExpr:
			if !reasonable(e.Val) {
				rep.error(e.SrcRange, "number out of range", "write a smaller number")
			}
		}
		return nil
	})
}

// reasonable reports that a number can be written out.
func reasonable(v cty.Value) bool {
	if v.Type() != cty.Number || v.IsNull() || !v.IsKnown() {
		return true
	}
	f := v.AsBigFloat()
	exp := f.MantExp(nil)
	return !f.IsInf() && exp <= maxExponent && exp >= -maxExponent
}

// varName is NAME of var.NAME.
func varName(t hcl.Traversal) (string, bool) {
	if t.RootName() != "var" || len(t) < 2 {
		return "", false
	}
	switch step := t[1].(type) {
	case hcl.TraverseAttr:
		return step.Name, true
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return step.Key.AsString(), true
		}
	}
	return "", false
}

func (sc *scope) vetReference(rep *report, t hcl.Traversal, u use) {
	name, isVar := varName(t)
	shown := func(s string) string { // a word may be a secret whose quotes were forgotten
		if u.sensitive {
			return ""
		}
		return " " + quote(s)
	}
	switch {
	case u.record && t.RootName() == recordName:
	case u.record && !isVar && t.RootName() != "var":
		rep.error(t.SourceRange(), "unknown name"+shown(t.RootName()), "text is written in quotes, a variable as var.NAME, what a record has as record.NAME")
	case !isVar && t.RootName() == "var":
		rep.error(t.SourceRange(), "variable without a name", "write var.NAME")
	case !isVar:
		rep.error(t.SourceRange(), "unknown name"+shown(t.RootName()), "text is written in quotes, a variable as var.NAME")
	case u.constant:
		rep.error(t.SourceRange(), "reference to a variable where none is allowed", "write the value itself; functions are allowed")
	default:
		if _, ok := sc.vars.values[name]; ok {
			return
		}
		var declared []string
		for n := range sc.vars.values {
			declared = append(declared, n)
		}
		hint := `declare it: variable "NAME" {}`
		if near := Nearest(name, declared); near != "" {
			hint = didYouMean(near)
		}
		rep.error(t.SourceRange(), "undeclared variable"+shown(name), hint)
	}
}

// evalMessage words a problem that HCL found during evaluation. Its own detail
// may repeat values, so it is shown only where there is no value that the reader
// of the file does not see there.
func evalMessage(d *hcl.Diagnostic, showDetail bool) (summary, detail string) {
	if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok {
		var plain *plainError
		if errors.As(extra.FunctionCallError(), &plain) {
			return plain.summary, plain.hint
		}
		summary = "error in " + extra.CalledFunctionName() + "(): "
	}
	summary += lowerFirst(d.Summary)
	if !showDetail {
		return summary, "the details are withheld, because they may hold a sensitive value"
	}
	return summary, d.Detail
}

func lowerFirst(s string) string {
	if s == "" || strings.HasPrefix(s, "HCL") {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// quotedPart is a quoted piece of a message of HCL's parser.
var quotedPart = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// symbols is a piece that is only punctuation, or a keyword of templates: what the
// parser says of the language, not what the file says.
var symbols = regexp.MustCompile(`^"(?:[^\pL\pN]*|if|for|else|endif|endfor|in|heredoc|<<EOT|\\n)"$`)

// syntaxSummary is the parser's summary; none of them repeats the file.
func syntaxSummary(summary string) string { return "syntax: " + lowerFirst(summary) }

// syntaxDetail is the parser's detail without the pieces of the file in it: in a
// file that cannot be parsed, any piece may belong to a secret.
func syntaxDetail(d *hcl.Diagnostic) string {
	switch d.Summary {
	case "Invalid legacy index syntax":
		return "write an index in brackets, such as [0]"
	case "Invalid escape sequence":
		return `known escapes: \n \r \t \" \\ \uNNNN \UNNNNNNNN`
	}
	return quotedPart.ReplaceAllStringFunc(d.Detail, func(part string) string {
		if symbols.MatchString(part) {
			return part
		}
		return `"…"`
	})
}
