package stream

import (
	"context"
	"slices"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// followed is a filter that notes what it is told.
type followed struct {
	name string
	log  *[]string
	ctx  context.Context
}

func (f *followed) Match(*wal.Record) bool { return true }
func (f *followed) Stop()                  { *f.log = append(*f.log, "stop "+f.name) }
func (f *followed) Start(ctx context.Context) {
	f.ctx = ctx
	*f.log = append(*f.log, "start "+f.name)
}

// plain is a filter that needs nothing, of a type that cannot be compared.
type plain func() bool

func (p plain) Match(*wal.Record) bool { return p() }

type connection struct {
	wire.Sink_StreamClient
	ctx context.Context
}

func (c connection) Context() context.Context { return c.ctx }

// A filter is started once when a sink begins to use it, stopped when another
// takes its place, and ends with the sink's connection.
func TestUse(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := &life{stream: connection{ctx: ctx}}
	var log []string
	a, b := &followed{name: "a", log: &log}, &followed{name: "b", log: &log}
	for _, f := range []Filter{plain(func() bool { return true }), a, a, a, b, plain(func() bool { return false }), plain(func() bool { return true }), a} {
		l.use(f)
	}
	if want := []string{"start a", "stop a", "start b", "stop b", "start a"}; !slices.Equal(log, want) {
		t.Errorf("told %q, want %q", log, want)
	}
	cancel()
	if a.ctx.Err() == nil {
		t.Error("the filter outlives the sink's connection")
	}
}
