package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics shows to Prometheus what is in counts.json: after a crash it goes on from
// there, so no counter ever goes back or counts a record twice.
type metrics struct {
	address string // empty: nothing is shown
	shown   atomic.Pointer[counts]
	server  *http.Server
	ended   chan error
}

var (
	recordsDesc = prometheus.NewDesc("table_counter_records_total",
		"Records of the WAL, by relation (tablespace/database/relfilenode), resource manager and operation.", []string{"relation", "rmgr", "operation"}, nil)
	positionDesc = prometheus.NewDesc("table_counter_position_bytes", "LSN up to which records are counted.", nil, nil)
)

// Limits of the server: whoever is slow or silent is cut off.
const (
	requestTimeout = 10 * time.Second
	maxScrapes     = 2 // at a time
)

// loopback reports whether an address is one that only this machine reaches.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// serve shows c and listens.
func (m *metrics) serve(c *counts) error {
	m.publish(c)
	if m.address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", m.address)
	if err != nil {
		return fmt.Errorf("listen for Prometheus: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	m.server = &http.Server{Handler: mux, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: requestTimeout}
	m.ended = make(chan error, 1)
	go func() { m.ended <- m.server.Serve(listener) }()
	return nil
}

// publish shows a copy of c from now on.
func (m *metrics) publish(c *counts) {
	if m.address == "" {
		return
	}
	shown := *c
	shown.Records = make(map[string]map[string]int64, len(c.Records))
	for relation, ops := range c.Records {
		shown.Records[relation] = maps.Clone(ops)
	}
	m.shown.Store(&shown)
}

// Describe and Collect make metrics a prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- recordsDesc
	ch <- positionDesc
}

// Collect is called for each scrape, while the sink goes on.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	c := m.shown.Load()
	ch <- prometheus.MustNewConstMetric(positionDesc, prometheus.GaugeValue, float64(c.Position))
	for relation, ops := range c.Records {
		for op, n := range ops {
			rmgr, operation, _ := strings.Cut(op, " ")
			ch <- prometheus.MustNewConstMetric(recordsDesc, prometheus.CounterValue, float64(n), relation, rmgr, operation)
		}
	}
}

// close ends the server, and requests that are under way.
func (m *metrics) close() error {
	if m.server == nil {
		return nil
	}
	err := m.server.Close()
	if ended := <-m.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
