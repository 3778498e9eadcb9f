package config

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Fallback is where WAL is looked for that a stream's source has removed: a
// directory of segments, or another server of the same cluster.
type Fallback struct {
	Directory string // absolute; empty: DSN
	DSN       Secret

	Range hcl.Range // of the block's header
}

var fallbackShape = &shape{name: "fallback", attrs: []string{"directory", "dsn"}}

func (l *loader) loadFallback(b *hclsyntax.Block) *Fallback {
	l.checkShape(fallbackShape, b.Body)
	attrs := attributesOf(l, b)
	f := &Fallback{Range: b.DefRange()}
	_, directory := b.Body.Attributes["directory"]
	_, dsn := b.Body.Attributes["dsn"]
	switch {
	case directory && dsn:
		l.rep.error(f.Range, "two sources in one fallback", "write a fallback block for the directory and one for the server")
	case directory:
		f.Directory, _ = attrs.path("directory")
	case dsn:
		f.DSN = l.loadDSN(attrs)
	default:
		l.rep.error(f.Range, "empty fallback", `write directory = "…" for a directory of WAL segments, or dsn = "…" for another server of the same cluster`)
	}
	return f
}
