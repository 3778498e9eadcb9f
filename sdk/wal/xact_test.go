package wal

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// xactMain is main data with a time at offset at.
func xactMain(at int, micros int64, rest int) []byte {
	b := make([]byte, at+8+rest)
	for i := range b {
		b[i] = 0xEE
	}
	binary.LittleEndian.PutUint64(b[at:], uint64(micros))
	return b
}

func TestXactTime(t *testing.T) {
	const micros = 816263138123456 // 2025-11-12 11:45:38.123456 UTC
	for _, c := range []struct {
		name string
		rmgr RmgrID
		info uint8
		main []byte
		ok   bool
	}{
		{"commit", RmgrTransaction, 0x00, xactMain(0, micros, 0), true},
		{"commit with xinfo", RmgrTransaction, 0x80, xactMain(0, micros, 400), true},
		{"prepare", RmgrTransaction, 0x10, xactMain(16, micros, 60), true},
		{"abort", RmgrTransaction, 0x20, xactMain(0, micros, 0), true},
		{"abort with xinfo", RmgrTransaction, 0xA0, xactMain(0, micros, 4), true},
		{"commit prepared", RmgrTransaction, 0xB0, xactMain(0, micros, 20), true},
		{"abort prepared", RmgrTransaction, 0xC0, xactMain(0, micros, 20), true},
		{"assignment", RmgrTransaction, 0x50, xactMain(0, micros, 0), false},
		{"invalidation", RmgrTransaction, 0x60, xactMain(0, micros, 0), false},
		{"unknown", RmgrTransaction, 0x70, xactMain(0, micros, 0), false},
		{"another resource manager", RmgrHeap, 0x00, xactMain(0, micros, 0), false},
		{"commit cut off", RmgrTransaction, 0x00, make([]byte, 7), false},
		{"prepare cut off", RmgrTransaction, 0x10, make([]byte, 23), false},
		{"no main data", RmgrTransaction, 0x00, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := buildRecord(c.rmgr, c.info, 700, mainData(c.main))
			r := Record{Version: PG15, Data: rec}
			if err := r.Decode(rec); err != nil {
				t.Fatal(err)
			}
			got, ok := r.XactTime()
			if ok != c.ok || ok && got != micros {
				t.Errorf("time %d, %v", got, ok)
			}
		})
	}
}

// A commit with very many invalidations is handed over in fragments.
func TestXactTimeOfFragments(t *testing.T) {
	const micros = 816263138123456
	rec := buildRecord(RmgrTransaction, 0x80, 700, mainData(xactMain(0, micros, 4000)))
	r := Record{Version: PG15, Data: rec[:1000]}
	if err := r.Decode(rec); err != nil {
		t.Fatal(err)
	}
	if got, ok := r.XactTime(); !ok || got != micros {
		t.Errorf("first fragment: %d, %v", got, ok)
	}
	r.FragmentOffset, r.Data = 1000, rec[1000:2000]
	if got, ok := r.XactTime(); ok {
		t.Errorf("second fragment: %d, which is not a time", got)
	}
}

func TestTimestampTime(t *testing.T) {
	for _, c := range []struct {
		micros int64
		want   string
	}{
		{0, "2000-01-01T00:00:00Z"},
		{816263138123456, "2025-11-12T11:45:38.123456Z"},
		{-1, "1999-12-31T23:59:59.999999Z"},
		{math.MaxInt64, "294277-01-09T04:00:54.775807Z"}, // DT_NOEND
	} {
		if got := TimestampTime(c.micros).Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%d is %s, want %s", c.micros, got, c.want)
		}
	}
	if got := TimestampTime(math.MinInt64).Unix(); got != math.MinInt64/1_000_000-1+postgresEpoch { // DT_NOBEGIN
		t.Errorf("the least timestamp is %d seconds since 1970", got)
	}
}
