// Package metrics serves what Prometheus and load balancers ask a host for.
package metrics

import (
	_ "github.com/prometheus/client_golang/prometheus/collectors"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
)
