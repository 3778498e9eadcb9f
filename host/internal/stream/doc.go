// Package stream runs one stream: it reads a server's WAL, decodes it, lays it
// out in blocks and hands these to the sinks, by the rules of package chain.
//
// Goroutines. One loop owns the chain and all positions. Beside it there is one
// goroutine that reads the connection and builds blocks, and per sink one that
// starts its process again when it died, one that sends to it and one that
// listens to it; and for a while one that serves it beside the stream, or takes the
// base backup with which it begins. They talk to the loop through channels; the loop never waits
// for a sink.
//
//	server ─▶ source ─block─▶ loop ─block─▶ sender ─▶ sink process
//	   ▲                       │ ▲                        │
//	   └──────── status ───────┘ └─────── listener ◀──────┘
//
// A session is one connection. Sinks outlive sessions: after a reconnect they
// get only what is new to them. A sink that comes back from its death at an
// older position ends the session, and the next one reads again from there.
package stream

import (
	"log/slog"
	"slices"
	"time"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/supervisor"
	"github.com/walplex/walplex/sdk/wal"
)

// Config describes a stream.
type Config struct {
	Name           string
	Server         replication.Config
	Archive        *archive.Options // the source instead of Server; nil: there is none
	Fallbacks      []Fallback       // where WAL is looked for that the source has not, in this order
	Slot           string           // empty: none
	CreateSlot     bool
	StatusInterval time.Duration
	Start          wal.LSN // where neither a sink nor the slot has a position; 0: the server's end of WAL
	Sinks          []SinkConfig
	Ring           int64 // bytes of the shared ring; 0: none, all sinks are served over gRPC
	Until          Until
	Limits         chain.Limits // zero: chain.DefaultLimits
	Times          Times        // zero: DefaultTimes
}

// Fallback is a directory of segments, or a server, that may have WAL which the
// source has removed.
type Fallback struct {
	Archive string             // directory; empty: Server
	Server  replication.Config // another server of the same cluster
}

func (f *Fallback) name() string {
	if f.Archive != "" {
		return "archive " + f.Archive
	}
	return "another server"
}

// SinkConfig describes a sink of the stream.
type SinkConfig struct {
	Name       string
	Required   bool
	After      []int // indexes of earlier sinks
	Spec       supervisor.Spec
	ConfigJSON []byte
	OnLag      OnLag
	MaxLag     int64 // bytes behind the stream from which OnLag applies; 0: when it would hold up the stream
	// Filter picks the records that the sink is sent; nil: all that it subscribes to.
	Filter Filter
	// FilterText is the filter as it was written, to tell whether a reload changes it.
	FilterText string
	// Untrusted sinks are shown nothing but what they subscribe to: no ring, and of
	// records no more than their own.
	Untrusted bool
}

// Filter picks records. It must not keep rec, and is asked by one goroutine at a
// time. Of a record in fragments it sees the first.
type Filter interface {
	Match(rec *wal.Record) bool
}

// OnLag is what happens to a sink that falls behind.
type OnLag string

// The policies for a sink that falls behind.
const (
	Block   OnLag = "block"    // the stream waits for it
	CatchUp OnLag = "catch_up" // the stream goes on; the sink is served beside it, from what another sink or the server has kept
	Detach  OnLag = "detach"   // the stream goes on; the sink is off until walplex is reloaded or started again
)

// Until says when a stream is done.
type Until struct {
	CaughtUp bool    // at the server's flush position at the start
	LSN      wal.LSN // at this position; 0: never
}

// Times bound what the stream waits for.
type Times struct {
	Connect   time.Duration // to connect and to learn who the server is
	EndCopy   time.Duration // for the server to end the stream that we have ended
	Open      time.Duration // of a sink's Open, its lock included
	LockWait  time.Duration // of that, for a predecessor's lock
	Optional  time.Duration // that the first start waits for sinks that are not required, when the others are open
	Drain     time.Duration // for sinks to flush what they have at the end, and again to end
	Heartbeat time.Duration // between two looks at the sinks
	Silence   time.Duration // after which a sink is taken for dead
	Stall     time.Duration // that a sink which is not required may hold the stream up without progress
	Patience  time.Duration // that a sink may hold the stream up in all before its on_lag policy is applied
}

// DefaultTimes are those of walplex run.
func DefaultTimes() Times {
	return Times{
		Connect: 30 * time.Second, EndCopy: 10 * time.Second,
		Open: 60 * time.Second, LockWait: 30 * time.Second, Optional: 5 * time.Second, Drain: 30 * time.Second,
		Heartbeat: 5 * time.Second, Silence: 30 * time.Second, Stall: 10 * time.Second,
		Patience: 250 * time.Millisecond,
	}
}

// New makes a stream that is not running yet.
func New(cfg Config, log *slog.Logger) *Stream {
	if cfg.Limits == (chain.Limits{}) {
		cfg.Limits = chain.DefaultLimits()
	}
	if cfg.Times == (Times{}) {
		cfg.Times = DefaultTimes()
	}
	s := &Stream{cfg: cfg, log: log.With("stream", cfg.Name), pool: &pool{}, happened: make(chan happening, 256), changes: make(chan change), poked: make(chan struct{}, 1), done: make(chan struct{}),
		held: map[chain.BlockID]*buffer{}}
	s.cfg.Sinks = slices.Clone(cfg.Sinks)
	s.sinks = make([]sink, len(cfg.Sinks))
	s.view.Name, s.view.State = cfg.Name, Starting
	return s
}
