package stream

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/walplex/walplex/sdk/wire"
)

// Limits of a sink's own metrics.
const (
	maxSinkMetrics = 64
	maxHelp        = 200 // bytes
)

// SinkMetric is a number of a sink's own.
type SinkMetric struct {
	Name    string  `json:"name"`
	Help    string  `json:"-"`
	Counter bool    `json:"counter"`
	Value   float64 `json:"value"`
}

// metricName is what a sink may call a number.
var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// sinkMetrics is what of a sink's metrics can be shown: each name once, and no
// more than the limit.
func sinkMetrics(in *wire.Metrics) []SinkMetric {
	var out []SinkMetric
	seen := map[string]bool{}
	for _, m := range in.GetMetrics() {
		if len(out) == maxSinkMetrics {
			break
		}
		if seen[m.Name] || !metricName.MatchString(m.Name) || m.Value != m.Value {
			continue
		}
		seen[m.Name] = true
		help := strings.ToValidUTF8(m.Help[:min(len(m.Help), maxHelp)], "")
		if !utf8.ValidString(help) || help == "" {
			help = "Of the sink's own."
		}
		out = append(out, SinkMetric{Name: m.Name, Help: help, Counter: m.Counter, Value: m.Value})
	}
	return out
}
