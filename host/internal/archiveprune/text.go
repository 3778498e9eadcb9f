package archiveprune

import (
	"fmt"

	"github.com/walplex/walplex/host/internal/archiveverify"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// Summary is the report in words.
func (r *Report) Summary(dryRun bool) string {
	verb := "removed"
	if dryRun {
		verb = "would remove"
	}
	text := fmt.Sprintf("%s %s, %s; %s, %s stay", verb, segments(r.Segments), archiveverify.Size(r.Bytes), segments(r.KeptSegments), archiveverify.Size(r.KeptBytes))
	if r.First == "" {
		return text
	}
	return fmt.Sprintf("%s, from %s on: %s", text, r.First, why(r.Held))
}

// why says in words why nothing more goes.
func why(r retention.Reason) string {
	switch r {
	case retention.Needed:
		return "the archive needs its newest segments to be continued"
	case retention.BySize:
		return "what is left is within --keep-size"
	case retention.ByAge:
		return "it is younger than --keep-age"
	case retention.ByBackup:
		return "the backup needs it"
	}
	return string(r)
}

func segments(n int64) string {
	if n == 1 {
		return "1 segment"
	}
	return fmt.Sprintf("%d segments", n)
}
