package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/walplex/walplex/host/internal/status"
)

// ownMetrics are the numbers that sinks have of their own, in one scrape: of each
// name what it is. Of two sinks that call different things by one name, the first
// is shown.
type ownMetrics map[string]ownMetric

type ownMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func (o ownMetrics) collect(ch chan<- prometheus.Metric, streamName string, k *status.Sink) {
	for _, m := range k.Metrics {
		name := "plugin_" + strings.ToLower(strings.ReplaceAll(k.Type, "-", "_")) + "_" + m.Name
		kind := prometheus.GaugeValue
		if m.Counter {
			kind = prometheus.CounterValue
		}
		known, ok := o[name]
		if !ok {
			known = ownMetric{newDesc(name, m.Help, "stream sink"), kind}
			o[name] = known
		}
		if known.kind == kind {
			ch <- prometheus.MustNewConstMetric(known.desc, kind, m.Value, streamName, k.Name)
		}
	}
}
