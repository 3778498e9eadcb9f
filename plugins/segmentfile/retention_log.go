package segmentfile

import (
	"fmt"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// What the keeper logs of things that stay as they are, it logs once.

// say logs a warning, unless it was about key the last time too.
func (k *keeper) say(msg, key string, args ...any) {
	if k.said != key {
		k.said = key
		k.log.Warn(msg, args...)
	}
}

// sayHeld tells of an archive that stays larger than it is to be.
func (k *keeper) sayHeld(size wal.SegmentSize, d *retention.Decision) {
	if k.settings.Size <= 0 || d.Kept <= k.settings.Size || len(d.Keep) == 0 {
		k.said = ""
		return
	}
	first := &d.Keep[0]
	k.say("the archive takes more than its retention's size, and nothing more may be removed", string(d.Held), "limit", k.settings.Size, "bytes", d.Kept,
		"first", size.FileName(first.Timeline, first.No), "why", why(d.Held))
}

// why says in words why nothing more may be removed.
func why(r retention.Reason) string {
	switch r {
	case retention.Needed:
		return "another sink, the slot or the archive itself needs it"
	case retention.ByAge:
		return "it is younger than the retention's age"
	case retention.ByBackup:
		return "the retention's backup needs it"
	}
	return string(r)
}

// sayDry tells what would be removed.
func (k *keeper) sayDry(size wal.SegmentSize, d *retention.Decision) {
	n := len(d.Remove)
	if n == 0 {
		return
	}
	first, last := &d.Remove[0], &d.Remove[n-1]
	from, to := size.FileName(first.Timeline, first.No), size.FileName(last.Timeline, last.No)
	key := fmt.Sprint(from, to, n)
	if k.said != key {
		k.said = key
		k.log.Info("WAL would be removed from the archive, but for dry_run", "segments", n, "bytes", d.Removed, "first", from, "last", to,
			"kept_segments", len(d.Keep), "kept_bytes", d.Kept)
	}
}

// keeperMetrics are the retention's numbers.
type keeperMetrics struct {
	removed, removedBytes sdk.Counter
	kept, keptBytes       sdk.Gauge
}

// newKeeperMetrics makes them of m, which may be nil.
func newKeeperMetrics(m *sdk.Metrics) keeperMetrics {
	if m == nil {
		m = new(sdk.Metrics)
	}
	return keeperMetrics{
		removed:      m.Counter("retention_removed_segments_total", "Segments that retention has removed."),
		removedBytes: m.Counter("retention_removed_bytes_total", "Bytes of the files that retention has removed."),
		kept:         m.Gauge("retention_kept_segments", "Segments in the archive when retention looked last."),
		keptBytes:    m.Gauge("retention_kept_bytes", "Bytes of the segments' files in the archive when retention looked last."),
	}
}

func (m *keeperMetrics) add(r *removal) {
	m.removed.Add(float64(r.removed))
	m.removedBytes.Add(float64(r.bytes))
	if r.looked {
		m.kept.Set(float64(r.keptSegments))
		m.keptBytes.Set(float64(r.kept))
	}
}
