package main

import (
	"testing"

	"github.com/walplex/walplex/config"
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
