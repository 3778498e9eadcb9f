package config

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

var variableShape = &shape{name: "variable", attrs: []string{"default", "sensitive", "description"}}

// declareVariables gives every variable its value: of --var, else its default.
// Where there is none it becomes unknown, so that its uses bring no further
// errors.
func (l *loader) declareVariables() {
	declared := map[string]hcl.Range{}
	var first []*hclsyntax.Block
	for _, b := range l.variables {
		name := b.Labels[0]
		if at, again := declared[name]; again {
			l.rep.error(b.LabelRanges[0], "variable "+quote(name)+" is declared twice", "the first is at "+place(at))
			continue
		}
		declared[name] = b.LabelRanges[0]
		first = append(first, b)
	}
	intoSecrets := l.variablesIntoSecrets()
	values := map[string]cty.Value{}
	for _, b := range first {
		name := b.Labels[0]
		v := l.variableValue(b)
		if intoSecrets[name] {
			v = v.Mark(markForeign)
		}
		values[name] = v
		_, marks := v.UnmarkDeep()
		l.scope.keepSecret(v, marks)
	}
	l.scope.vars.values = shallowMarks(values)
	names := slices.Collect(maps.Keys(declared))
	for _, name := range slices.Sorted(maps.Keys(l.options.Vars)) {
		if _, ok := declared[name]; !ok {
			l.rep.error(atPath("--var "+name), "undeclared variable "+quote(name), suggest(name, names))
		}
	}
}

// shallowMarks moves marks inside a value to the value itself, so that whether a
// variable is secret shows at its top.
func shallowMarks(values map[string]cty.Value) map[string]cty.Value {
	for name, v := range values {
		_, marks := v.UnmarkDeep()
		values[name] = v.WithMarks(marks)
	}
	return values
}

func (l *loader) variableValue(b *hclsyntax.Block) cty.Value {
	name := b.Labels[0]
	l.checkShape(variableShape, b.Body)
	attrs := attributesOf(l, b)
	sensitive := attrs.constantFlag("sensitive")
	attrs.constantText("description")

	value := cty.DynamicVal
	def := b.Body.Attributes["default"]
	given, isGiven := l.options.Vars[name]
	switch {
	case isGiven:
		value = cty.StringVal(given)
		if def != nil {
			l.scope.vet(l.rep, def, use{sensitive: true, constant: true})
		}
	case def != nil:
		// A default is never shown: what it flows into may be a secret of a sink.
		value = l.scope.eval(l.rep, def, use{sensitive: true, constant: true})
	default:
		l.rep.error(b.DefRange(), "variable "+quote(name)+" has no value",
			"give one with --var "+name+"=…, or set a default")
	}
	if sensitive {
		value = value.Mark(markSensitive)
	}
	return value
}

// variablesIntoSecrets are the variables that a dsn or a plugin's environment is
// made of.
func (l *loader) variablesIntoSecrets() map[string]bool {
	found := map[string]bool{}
	note := func(body *hclsyntax.Body, attr string) {
		a := body.Attributes[attr]
		if a == nil {
			return
		}
		for _, t := range a.Expr.Variables() {
			if name, ok := varName(t); ok {
				found[name] = true
			}
		}
	}
	for _, s := range l.streams {
		for _, b := range s.Body.Blocks {
			if b.Type == "postgres" {
				note(b.Body, "dsn")
			}
		}
	}
	for _, p := range l.plugins {
		note(p.Body, "env")
	}
	return found
}

// keepSecret remembers all texts in a marked value.
func (sc *scope) keepSecret(v cty.Value, marks cty.ValueMarks) {
	if len(marks) == 0 {
		return
	}
	_, declared := marks[markSensitive]
	sc.keepTexts(v, declared)
}

// keepTexts remembers all texts in a value as secrets.
func (sc *scope) keepTexts(v cty.Value, declared bool) {
	v, _ = v.UnmarkDeep()
	_ = cty.Walk(v, func(_ cty.Path, leaf cty.Value) (bool, error) {
		if leaf.IsKnown() && !leaf.IsNull() && leaf.Type() == cty.String {
			sc.secrets.add(leaf.AsString(), declared)
		}
		if leaf.IsKnown() && !leaf.IsNull() && leaf.Type() == cty.Number && declared && reasonable(leaf) {
			sc.secrets.add(leaf.AsBigFloat().Text('f', -1), declared)
		}
		return true, nil
	})
}
