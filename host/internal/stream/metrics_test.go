package stream

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wire"
)

// What a sink tells is bounded, and cannot break the exposition.
func TestSinkMetrics(t *testing.T) {
	in := &wire.Metrics{}
	for _, name := range []string{"good", "good", "", "Upper", "a b", "9a", "a-b", strings.Repeat("x", 65)} {
		in.Metrics = append(in.Metrics, &wire.Metric{Name: name, Help: strings.Repeat("é", 200), Value: 1})
	}
	in.Metrics = append(in.Metrics, &wire.Metric{Name: "nan", Value: math.NaN()})
	got := sinkMetrics(in)
	if len(got) != 1 || got[0].Name != "good" || len(got[0].Help) > maxHelp || got[0].Value != 1 {
		t.Errorf("%v", got)
	}
	for i := range 2 * maxSinkMetrics {
		in.Metrics = append(in.Metrics, &wire.Metric{Name: fmt.Sprintf("m%d", i), Counter: true})
	}
	if got := sinkMetrics(in); len(got) != maxSinkMetrics || !got[1].Counter || got[1].Help == "" {
		t.Errorf("%d metrics", len(got))
	}
}
