package main

import (
	"log/slog"
	"testing"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/host/internal/stream"
)

func TestLoopback(t *testing.T) {
	for address, good := range map[string]bool{
		"127.0.0.1:9187": true, "127.8.9.1:1": true, "[::1]:9187": true, "localhost:9187": true, "LOCALHOST:1": true, "[::ffff:127.0.0.1]:1": true,
		":9187": false, "0.0.0.0:9187": false, "[::]:9187": false, "192.168.1.1:9187": false, "db.example.org:9187": false, "localhost.example.org:1": false, "nonsense": false,
	} {
		if err := loopback(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestStreamWithSlot(t *testing.T) {
	slot := func(name, slot string) *config.Stream {
		return &config.Stream{Name: name, Postgres: config.Postgres{Slot: slot}}
	}
	a, b, none := slot("a", "s"), slot("b", "s"), slot("none", "")
	for _, c := range []struct {
		name    string
		streams []*config.Stream
		ask     string
		want    *config.Stream
	}{
		{"the only one", []*config.Stream{a}, "", a},
		{"the only one with a slot", []*config.Stream{none, a}, "", a},
		{"by name", []*config.Stream{a, b}, "b", b},
		{"which?", []*config.Stream{a, b}, "", nil},
		{"unknown", []*config.Stream{a}, "x", nil},
		{"without a slot", []*config.Stream{a, none}, "none", nil},
		{"none at all", []*config.Stream{none}, "", nil},
	} {
		got, err := streamWithSlot(c.streams, c.ask)
		if got != c.want || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// TestShow: after a reload the watch over a slot goes on where server and slot are
// the same, and ends where they are not; one without a slot has none.
func TestShow(t *testing.T) {
	status := []stream.Status{{Name: "a", State: stream.Starting}, {Name: "b"}, {Name: "unknown"}}
	o, err := startOutside(t.Context(), config.Host{}, func() []stream.Status { return status }, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a := stream.Config{Name: "a", Slot: "s", Server: replication.Config{DSN: "host=/nonexistent user=me password=secret"}}
	b := stream.Config{Name: "b", Server: a.Server}
	o.show(t.Context(), []stream.Config{a, b})
	first := o.shown["a"].watcher
	if first == nil || o.shown["b"].watcher != nil {
		t.Fatalf("%+v", o.shown)
	}
	r := o.report()
	if len(r.Streams) != 3 || r.Streams[0].Source != "/nonexistent/.s.PGSQL.5432 as me" || r.Streams[0].Slot != "s" || r.Streams[0].Primary == nil || r.Streams[1].Primary != nil {
		t.Errorf("%+v", r)
	}
	o.show(t.Context(), []stream.Config{a})
	if o.shown["a"].watcher != first || len(o.shown) != 1 {
		t.Errorf("what did not change was replaced: %+v", o.shown)
	}
	a.Slot = "other"
	o.show(t.Context(), []stream.Config{a})
	if o.shown["a"].watcher == first {
		t.Error("the old slot is watched on")
	}
	o.close(t.Context()) // hangs unless every watch has ended
}
