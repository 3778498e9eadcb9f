package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/sdk/wire"
)

// maxForeignText bounds each text of a sink's diagnostic, bytes.
const maxForeignText = 4096

// Diagnose gives the objections of the sink's program their places in the file:
// of the attribute, block or element that the path leads to, as near as the file
// has it. Secrets are taken out of the texts. Decode comes first.
func (s *Sink) Diagnose(list []*wire.Diagnostic) Diagnostics {
	rep := &report{source: s.body.scope.source}
	for _, d := range list {
		if len(rep.list) == maxDiagnostics {
			break
		}
		severity := Error
		if d.GetSeverity() == wire.Diagnostic_WARNING {
			severity = Warning
		}
		summary := s.foreignText(d.GetSummary())
		if blank(summary) {
			summary = "refused by the sink"
		}
		at := s.rangeOf(d.GetPath())
		rep.list = append(rep.list, rep.source.diagnostic(severity, at, summary, s.foreignText(d.GetDetail())))
	}
	rep.list.Sort()
	return rep.list
}

// foreignText redacts before it cuts, so that no half of a secret is left.
func (s *Sink) foreignText(text string) string {
	text = s.body.scope.secrets.redact(text)
	if len(text) > maxForeignText {
		text = text[:maxForeignText] + "…"
	}
	return text
}

// rangeOf follows the path from the config block.
func (s *Sink) rangeOf(path []*wire.PathStep) hcl.Range {
	if s.body.config == nil {
		return s.ConfigRange
	}
	at, body := s.ConfigRange, s.body.config.Body
	for len(path) > 0 {
		name := path[0].GetName()
		path = path[1:]
		if a := body.Attributes[name]; a != nil {
			return elementRange(a.Expr, path)
		}
		index := 0
		if len(path) > 0 {
			if step, ok := path[0].GetStep().(*wire.PathStep_Index); ok {
				index = int(step.Index)
				path = path[1:]
			}
		}
		b := nthBlock(body, name, index)
		if b == nil {
			return at
		}
		at, body = b.DefRange(), b.Body
	}
	return at
}

func nthBlock(body *hclsyntax.Body, name string, index int) *hclsyntax.Block {
	for _, b := range body.Blocks {
		if b.Type != name {
			continue
		}
		if index == 0 {
			return b
		}
		index--
	}
	return nil
}

// elementRange follows the path into lists and maps that are written out.
func elementRange(expr hclsyntax.Expression, path []*wire.PathStep) hcl.Range {
	for _, step := range path {
		next := element(expr, step)
		if next == nil {
			break
		}
		expr = next
	}
	return expr.Range()
}

func element(expr hclsyntax.Expression, step *wire.PathStep) hclsyntax.Expression {
	switch e := expr.(type) {
	case *hclsyntax.ParenthesesExpr:
		return element(e.Expression, step)
	case *hclsyntax.TupleConsExpr:
		i, ok := step.GetStep().(*wire.PathStep_Index)
		if ok && i.Index >= 0 && i.Index < int64(len(e.Exprs)) {
			return e.Exprs[i.Index]
		}
	case *hclsyntax.ObjectConsExpr:
		key := step.GetKey()
		if name, ok := step.GetStep().(*wire.PathStep_Name); ok {
			key = name.Name
		}
		for _, item := range e.Items {
			v, diags := item.KeyExpr.Value(nil)
			if v, _ = v.Unmark(); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() && v.AsString() == key {
				return item.ValueExpr
			}
		}
	}
	return nil
}
