package metrics

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/status"
	"github.com/walplex/walplex/host/internal/stream"
)

// collector makes the metrics of a report.
type collector struct {
	report           func() status.Report
	build, ready, ok *prometheus.Desc
	stream           []metric[status.Stream]
	states           *prometheus.Desc
	sink             []metric[status.Sink]
	sinkStates       *prometheus.Desc
	transport        *prometheus.Desc
	slot             []metric[status.Primary]
	slotLevels       *prometheus.Desc
	slotStatus       *prometheus.Desc
}

// metric is one number of a T; known is false where there is none.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*T) (v float64, known bool)
}

// labels are the names of a metric's labels, with spaces between.
type labels string

const (
	noLabels     labels = ""
	streamLabels labels = "stream"
	sinkLabels   labels = "stream sink type"
	slotLabels   labels = "stream slot"
)

func newDesc(name, help string, l labels, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("walplex_"+name, help, append(strings.Fields(string(l)), more...), nil)
}

func newCollector(report func() status.Report) *collector {
	return &collector{
		report:     report,
		build:      newDesc("build_info", "Always 1; the labels say what runs.", noLabels, "version", "goversion"),
		ready:      newDesc("ready", "1 if every stream is streaming and every required sink is live.", noLabels),
		ok:         newDesc("ok", "1 if there is no problem that somebody should look at.", noLabels),
		stream:     streamMetrics(),
		states:     newDesc("stream_state", "1 for the state that the stream is in, 0 for the others.", streamLabels, "state"),
		sink:       sinkMetrics(),
		sinkStates: newDesc("sink_state", "1 for the state that the sink is in, 0 for the others.", sinkLabels, "state"),
		transport:  newDesc("sink_transport_info", "Always 1; the label says how blocks reach the sink: ring or grpc.", sinkLabels, "transport"),
		slot:       slotMetrics(),
		slotLevels: newDesc("slot_level", "1 for the level of danger of the server's slot, 0 for the others.", slotLabels, "level"),
		slotStatus: newDesc("slot_wal_status_info", "Always 1; the label is wal_status of pg_replication_slots.", slotLabels, "wal_status"),
	}
}

func gauge[T any](name, help string, l labels, value func(*T) (float64, bool)) metric[T] {
	return metric[T]{newDesc(name, help, l), prometheus.GaugeValue, value}
}

func counter[T any](name, help string, l labels, value func(*T) int64) metric[T] {
	return metric[T]{newDesc(name, help, l), prometheus.CounterValue, func(t *T) (float64, bool) { return float64(value(t)), true }}
}

func count(n int64) (float64, bool)         { return float64(n), true }
func position(l status.LSN) (float64, bool) { return float64(l), l != 0 }
func flag(b bool) (float64, bool) {
	if b {
		return 1, true
	}
	return 0, true
}

// maybe is a number that may be absent.
func maybe[N int64 | status.Seconds](n *N) (float64, bool) {
	if n == nil {
		return 0, false
	}
	return float64(*n), true
}

func streamMetrics() []metric[status.Stream] {
	type S = status.Stream
	return []metric[S]{
		gauge("stream_gap", "1 if WAL that is needed is gone from the server.", streamLabels, func(s *S) (float64, bool) { return flag(s.Gap) }),
		gauge("stream_timeline", "Timeline that the stream is on.", streamLabels, func(s *S) (float64, bool) { return float64(s.Timeline), s.Timeline != 0 }),
		gauge("stream_received_lsn", "LSN after the last byte received.", streamLabels, func(s *S) (float64, bool) { return position(s.ReceivedLSN) }),
		gauge("stream_server_lsn", "LSN up to which the server has WAL, as last told.", streamLabels, func(s *S) (float64, bool) { return position(s.ServerLSN) }),
		gauge("stream_confirmed_lsn", "Flush position that the server was last told.", streamLabels, func(s *S) (float64, bool) { return position(s.ConfirmedLSN) }),
		gauge("stream_lag_bytes", "WAL that the server has and that was not received.", streamLabels, func(s *S) (float64, bool) { return count(s.LagBytes) }),
		gauge("stream_lag_seconds", "Age of the oldest WAL received that a required sink has not flushed; not connected: at least since then.", streamLabels,
			func(s *S) (float64, bool) { return float64(s.LagSeconds), true }),
		gauge("stream_held_bytes", "Memory of blocks that the host holds for sinks.", streamLabels, func(s *S) (float64, bool) { return count(s.HeldBytes) }),
		gauge("stream_ring_bytes", "Size of the shared ring, 0 without one.", streamLabels, func(s *S) (float64, bool) { return count(s.RingBytes) }),
		gauge("stream_ring_used_bytes", "Bytes of the shared ring that sinks hold.", streamLabels, func(s *S) (float64, bool) { return count(s.RingUsedBytes) }),
		counter("stream_received_bytes_total", "WAL received since the start, with what was read again.", streamLabels, func(s *S) int64 { return s.ReceivedBytes }),
		counter("stream_received_records_total", "Records received since the start, with those read again.", streamLabels, func(s *S) int64 { return s.ReceivedRecords }),
		counter("stream_reconnects_total", "Times that the stream has connected again.", streamLabels, func(s *S) int64 { return int64(s.Reconnects) }),
	}
}

func sinkMetrics() []metric[status.Sink] {
	type K = status.Sink
	return []metric[K]{
		gauge("sink_up", "1 if the sink is open: live, catching up or receiving a base backup.", sinkLabels, func(k *K) (float64, bool) {
			return flag(k.State == stream.SinkLive || k.State == stream.SinkCatchingUp || k.State == stream.SinkBackup)
		}),
		gauge("sink_required", "1 if the server waits for the sink.", sinkLabels, func(k *K) (float64, bool) { return flag(k.Required) }),
		gauge("sink_sent_lsn", "LSN up to which the sink was sent WAL.", sinkLabels, func(k *K) (float64, bool) { return position(k.SentLSN) }),
		gauge("sink_written_lsn", "LSN up to which the sink has written WAL.", sinkLabels, func(k *K) (float64, bool) { return position(k.WrittenLSN) }),
		gauge("sink_flushed_lsn", "LSN up to which the sink holds WAL durably.", sinkLabels, func(k *K) (float64, bool) { return position(k.FlushedLSN) }),
		gauge("sink_applied_lsn", "LSN up to which the sink's readers see WAL.", sinkLabels, func(k *K) (float64, bool) { return position(k.AppliedLSN) }),
		gauge("sink_lag_bytes", "How far the sink's flush position is behind the server's end of WAL.", sinkLabels, func(k *K) (float64, bool) { return count(k.LagBytes) }),
		gauge("sink_lag_seconds", "Age of the oldest WAL received that the sink has not flushed.", sinkLabels, func(k *K) (float64, bool) { return float64(k.LagSeconds), true }),
		gauge("sink_queue_bytes", "Bytes that were sent to the sink and not given back.", sinkLabels, func(k *K) (float64, bool) { return count(k.QueueBytes) }),
		gauge("sink_catchup_remaining_bytes", "WAL that the sink has to catch up with before it is live.", sinkLabels, func(k *K) (float64, bool) {
			if k.CatchUp == nil {
				return 0, true
			}
			return count(k.CatchUp.RemainingBytes)
		}),
		gauge("sink_base_backup_bytes", "Bytes of files of the base backup that the sink was sent; absent while it gets none.", sinkLabels, func(k *K) (float64, bool) {
			if k.Backup == nil {
				return 0, false
			}
			return count(k.Backup.Bytes)
		}),
		gauge("sink_base_backup_total_bytes", "Bytes that the base backup will have, as the server estimates; absent while that is not known.", sinkLabels, func(k *K) (float64, bool) {
			if k.Backup == nil || k.Backup.TotalBytes == 0 {
				return 0, false
			}
			return count(k.Backup.TotalBytes)
		}),
		counter("sink_restarts_total", "Times that the sink was started again.", sinkLabels, func(k *K) int64 { return int64(k.Restarts) }),
	}
}

func slotMetrics() []metric[status.Primary] {
	type P = status.Primary
	exists := func(p *P, v float64, known bool) (float64, bool) { return v, known && p.Known && p.Exists }
	return []metric[P]{
		gauge("slot_known", "1 if the server lets its slot be watched.", slotLabels, func(p *P) (float64, bool) { return flag(p.Known) }),
		gauge("slot_retained_bytes", "WAL that the slot keeps the server from removing.", slotLabels, func(p *P) (float64, bool) {
			return exists(p, float64(p.HeldBytes), true)
		}),
		gauge("slot_safe_wal_bytes", "WAL that the server can write before the slot may be lost (safe_wal_size); absent without a limit.", slotLabels, func(p *P) (float64, bool) {
			v, known := maybe(p.SafeWALBytes)
			return exists(p, v, known)
		}),
		gauge("slot_left_bytes", "WAL until the slot is lost or the disk is full; absent where neither is known.", slotLabels, func(p *P) (float64, bool) {
			v, known := maybe(p.LeftBytes)
			return exists(p, v, known)
		}),
		gauge("slot_left_seconds", "Time until then at the present speed; absent while the slot keeps up.", slotLabels, func(p *P) (float64, bool) {
			v, known := maybe(p.LeftSeconds)
			return exists(p, v, known)
		}),
		gauge("slot_restart_lsn", "restart_lsn of the slot.", slotLabels, func(p *P) (float64, bool) { return position(p.RestartLSN) }),
		gauge("primary_wal_lsn", "LSN up to which the server has written WAL.", slotLabels, func(p *P) (float64, bool) { return position(p.WALLSN) }),
		gauge("primary_disk_free_bytes", "Free space on the disk of the server's pg_wal; absent where it is not on this machine.", slotLabels, func(p *P) (float64, bool) {
			return maybe(p.DiskFreeBytes)
		}),
	}
}

func streamStates() []stream.State {
	return []stream.State{stream.Starting, stream.CatchingUp, stream.Streaming, stream.Reconnecting, stream.Draining, stream.Stopped, stream.Failed}
}

func sinkStates() []stream.SinkState {
	return []stream.SinkState{stream.SinkStarting, stream.SinkLive, stream.SinkCatchingUp, stream.SinkBackup, stream.SinkDown, stream.SinkCrashLoop, stream.SinkOff}
}

// Describe sends every description.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.build, c.ready, c.ok, c.states, c.sinkStates, c.transport, c.slotLevels, c.slotStatus} {
		ch <- d
	}
	describe(ch, c.stream)
	describe(ch, c.sink)
	describe(ch, c.slot)
}

func describe[T any](ch chan<- *prometheus.Desc, metrics []metric[T]) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect sends the numbers of one report.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	r := c.report()
	own := ownMetrics{}
	one(ch, c.build, 1, r.Host.Version, runtime.Version())
	is(ch, c.ready, r.Ready)
	is(ch, c.ok, r.OK)
	for i := range r.Streams {
		s := &r.Streams[i]
		collect(ch, c.stream, s, s.Name)
		for _, state := range streamStates() {
			is(ch, c.states, s.State == state, s.Name, string(state))
		}
		for j := range s.Sinks {
			c.collectSink(ch, s.Name, &s.Sinks[j])
			own.collect(ch, s.Name, &s.Sinks[j])
		}
		if s.Primary != nil {
			c.collectSlot(ch, s.Name, s.Primary)
		}
	}
}

func (c *collector) collectSink(ch chan<- prometheus.Metric, streamName string, k *status.Sink) {
	collect(ch, c.sink, k, streamName, k.Name, k.Type)
	for _, state := range sinkStates() {
		is(ch, c.sinkStates, k.State == state, streamName, k.Name, k.Type, string(state))
	}
	if k.Transport != "" {
		one(ch, c.transport, 1, streamName, k.Name, k.Type, k.Transport)
	}
}

func (c *collector) collectSlot(ch chan<- prometheus.Metric, streamName string, p *status.Primary) {
	collect(ch, c.slot, p, streamName, p.Slot)
	for _, level := range primary.Levels() {
		is(ch, c.slotLevels, p.Level == level, streamName, p.Slot, string(level))
	}
	if p.WALStatus != "" {
		one(ch, c.slotStatus, 1, streamName, p.Slot, p.WALStatus)
	}
}

func collect[T any](ch chan<- prometheus.Metric, metrics []metric[T], of *T, values ...string) {
	for _, m := range metrics {
		if v, known := m.value(of); known {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, values...)
		}
	}
}

func one(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, values ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, values...)
}

func is(ch chan<- prometheus.Metric, d *prometheus.Desc, b bool, values ...string) {
	v, _ := flag(b)
	one(ch, d, v, values...)
}
