package config

import (
	"math"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/sdk/wal"
)

// Archive says that a stream reads a directory of WAL segments, not a server.
type Archive struct {
	Directory string         // absolute
	Timeline  wal.TimelineID // 0: the highest that is there
	Start     wal.LSN        // 0: not set
	End       wal.LSN        // 0: not set
	Follow    bool

	Range          hcl.Range // of the block's header
	DirectoryRange hcl.Range
}

var archiveShape = &shape{
	name:  "archive",
	attrs: []string{"directory", "timeline", "start", "end", "follow"},
}

func (l *loader) loadArchive(b *hclsyntax.Block) *Archive {
	l.checkShape(archiveShape, b.Body)
	attrs := attributesOf(l, b)
	a := &Archive{Range: b.DefRange(), DirectoryRange: attrs.at("directory")}
	if v, ok := attrs.required("directory", cty.String, use{}, "name the directory that holds the WAL segments"); ok {
		a.Directory, _ = attrs.resolve("directory", v.AsString())
	}
	a.Timeline = attrs.timeline("timeline")
	a.Start, a.End = attrs.lsn("start"), attrs.lsn("end")
	if a.End != 0 && a.End <= a.Start {
		attrs.bad("end", &plainError{"not behind start", "give an LSN greater than start"})
	}
	a.Follow, _ = attrs.flag("follow")
	return a
}

// timeline is a timeline's number, 0 when it is absent.
func (as attributes) timeline(name string) wal.TimelineID {
	v, ok := as.value(name, cty.Number, use{})
	if !ok {
		return 0
	}
	f := v.AsBigFloat()
	n, _ := f.Uint64()
	if !f.IsInt() || n < 1 || n > math.MaxUint32 {
		as.bad(name, &plainError{"not a timeline", "timelines are whole numbers from 1"})
		return 0
	}
	return wal.TimelineID(n)
}
