package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
	"github.com/walplex/walplex/sdk/wire"
)

// full are blocks of 256 KiB of WAL with records of about 128 bytes.
func full(b *testing.B) (list [][]byte) {
	b.Helper()
	const n = 32
	o := waltest.Options{SegmentSize: 16 << 20, Start: 16 << 20, SystemID: 7, Timeline: 1, Version: wal.PG17}
	w := waltest.New(o)
	for len(w.Bytes()) < n*wire.BlockWAL {
		w.Append(waltest.HeapInsert(700, wal.RelFileLocator{Spc: 1663, DB: 5, Rel: 16384}, 7, 3, make([]byte, 70)))
	}
	r := xlogreader.New(o.Start, xlogreader.Options{SystemID: o.SystemID, SegmentSize: o.SegmentSize, Timeline: o.Timeline, MaxWhole: wire.MaxWhole})
	a := wire.NewAssembler(r, o.Timeline, o.Start)
	for p := w.Bytes(); len(list) < n; {
		a.SetBuffer(nil)
		taken, err := a.Append(p, 0)
		if err != nil || !a.Full() {
			b.Fatal(err)
		}
		p = p[taken:]
		list = append(list, bytes.Clone(a.Seal()))
	}
	return list
}

// moveTo moves a block to another place in the WAL: all else in it counts from its
// start.
func moveTo(block []byte, start wal.LSN) {
	le := binary.LittleEndian
	by := uint64(start) - le.Uint64(block[16:])
	for _, field := range []int{16, 24, 32} {
		le.PutUint64(block[field:], le.Uint64(block[field:])+by)
	}
}

// BenchmarkTransport gives blocks that lie in memory to three sinks, each a
// process that reads the header of every record: what the way between host and
// sinks costs, in CPU seconds for a GiB of WAL. The copy of a block to where it is
// sent from, which is the source's in the host, is counted.
func BenchmarkTransport(b *testing.B) {
	list := full(b)
	for _, c := range []struct {
		name  string
		ring  int64
		sinks int
	}{{"none", 128 << 20, 0}, {"ring", 128 << 20, 3}, {"grpc", 0, 3}} {
		b.Run(c.name, func(b *testing.B) {
			const start = 16 << 20
			var sinks []rigSink
			for range c.sinks {
				sinks = append(sinks, rigSink{act: "null"})
			}
			r := newRig(b, c.ring, start, sinks...)
			if c.ring == 0 {
				r.s.pool.asked = true
			}
			if len(sinks) == 0 {
				r.s.pool.share(c.ring, r.s.log)
			}
			next, n := wal.LSN(start), 0
			step := func() {
				for r.act(); !r.chain.CanReceive(); r.act() {
					r.hear()
				}
				m := r.s.pool.get()
				m.bytes = append(m.bytes[:0], list[n%len(list)]...)
				moveTo(m.bytes, next)
				buf := &buffer{data: m.bytes, slot: m.slot, pool: r.s.pool}
				buf.hold()
				var err error
				if buf.view, err = wire.ParseBlock(buf.data, false); err != nil {
					b.Fatal(err)
				}
				r.add(buf)
				next, n = buf.view.WALEnd(), n+1
			}
			for range 256 { // connections, buffers and caches are warm
				step()
			}
			for r.act(); c.sinks > 0 && r.chain.Positions(0).InFlight > 0; {
				r.hear()
			}
			hostBefore, sinksBefore := cpu(), r.sinksCPU()
			b.SetBytes(wire.BlockWAL)
			for b.Loop() {
				step()
			}
			r.finish()
			gib := float64(b.N) * wire.BlockWAL / (1 << 30)
			host, others := (cpu()-hostBefore).Seconds()/gib, (r.sinksCPU()-sinksBefore).Seconds()/gib
			b.ReportMetric(host+others, "cpu-s/GiB")
			b.ReportMetric(host, "host-s/GiB")
			b.ReportMetric(others, "sinks-s/GiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sinksCPU is the processor time of the sinks, in the kernel's ticks of 10 ms.
func (r *rig) sinksCPU() (all time.Duration) {
	r.t.Helper()
	for _, l := range r.lives {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.proc.PID()))
		if err != nil {
			r.t.Fatal(err)
		}
		// PID (NAME) STATE …; utime and stime are fields 14 and 15, see proc(5).
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, ticks := range f[11:13] {
			n, err := strconv.Atoi(ticks)
			if err != nil {
				r.t.Fatal(err)
			}
			all += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return all
}
