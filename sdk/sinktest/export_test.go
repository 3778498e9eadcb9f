package sinktest

import (
	"testing"

	"github.com/walplex/walplex/sdk"
)

// Result is what became of one check.
type Result struct {
	Form, Check string
	Err         error
}

// Results are those of Run, which fails nothing.
func Results(t *testing.T, def func() *sdk.Definition, options ...Option) (out []Result) {
	for _, r := range results(t, def, options...) {
		out = append(out, Result{r.form, r.check, r.err})
	}
	return out
}
