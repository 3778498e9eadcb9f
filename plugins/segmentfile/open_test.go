package segmentfile_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// Whatever lies behind the last record in a partial segment, the position is that
// record's end, and what lies there is zeros, on disk, before the position is
// answered.
func TestPositionInPartial(t *testing.T) {
	w := source(1500)
	part := w.End() - segSize.Start(w.End()) // bytes received of the last segment
	full := until(w, segSize.End(w.Options().Start))
	stale := bytes.Clone(full) // a recycled segment: valid, but of another place
	noise := make([]byte, segSize)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	received := w.Bytes()[segSize.Start(w.End())-w.Options().Start:]
	last := w.Records()[len(w.Records())-1]
	for what, c := range map[string]struct {
		data []byte
		want wal.LSN
	}{
		"padded":               {padded(received), w.End()},
		"not padded":           {received, w.End()},
		"recycled":             {append(bytes.Clone(received), stale[part:]...), w.End()},
		"noise behind":         {append(bytes.Clone(received), noise[part:]...), w.End()},
		"longer than it may":   {append(padded(received), noise...), w.End()},
		"last record cut":      {padded(received[:part-8]), last.Start},
		"last record cut off":  {received[:part-8], last.Start},
		"last record's header": {padded(received[:last.Start-segSize.Start(w.End())+20]), last.Start},
		"empty":                {nil, segSize.Start(w.End())},
		"zeros":                {make([]byte, segSize), segSize.Start(w.End())},
		"noise":                {noise, segSize.Start(w.End())},
		"header alone":         {padded(received[:40]), segSize.Start(w.End())},
		"half a header":        {padded(received[:30]), segSize.Start(w.End())},
	} {
		disk := crashfs.New()
		put(t, disk, name(w.Options().Start), full)
		put(t, disk, name(w.End())+".partial", c.data)
		l := mustStart(t, disk, w)
		if l.position() != c.want {
			t.Errorf("%s: position %s, want %s", what, l.position(), c.want)
		}
		disk = disk.CrashKeeping(rng, 0)
		got := get(t, disk, name(w.End())+".partial")
		if !bytes.Equal(got, padded(w.Bytes()[segSize.Start(w.End())-w.Options().Start:c.want-w.Options().Start])) {
			t.Errorf("%s: after Open and power loss the file is not what the position says", what)
		}
		if l = mustStart(t, disk, w); l.position() != c.want {
			t.Errorf("%s: position %s after power loss, want %s", what, l.position(), c.want)
		}
		messages(w, 5)
		l.mustDeliver(w, w.End())
		l.mustFlush()
		all, err := readAll(t.Context(), l.sink, 1, w.Options().Start, w.End())
		if err != nil || !bytes.Equal(all, w.Bytes()) {
			t.Errorf("%s: continued badly: %v", what, err)
		}
		w = source(1500)
	}
}

func padded(b []byte) []byte {
	out := make([]byte, segSize)
	copy(out, b)
	return out
}

// The partial segment begins with the rest of a record. Its checksum is verified
// from the segment in which the record begins, however far back.
func TestPositionBehindContinuedRecord(t *testing.T) {
	w := source(100)
	_, end := w.Append(waltest.LogicalMessage("large", 3*int(segSize)))
	messages(w, 10)
	for _, flipped := range []bool{false, true} {
		disk := crashfs.New()
		putSegments(t, disk, w)
		want := w.End()
		if flipped {
			flip(t, disk, name(end)+".partial", 100)
			want = segSize.Start(end)
		}
		if l := mustStart(t, disk, w); l.position() != want {
			t.Errorf("byte flipped %v: position %s, want %s", flipped, l.position(), want)
		}
	}
}

// What follows a switch in its segment is not covered by a checksum, and not zero
// on a server that has not written the zeros yet: it is received again.
func TestPositionAtSwitch(t *testing.T) {
	w := source(100)
	swtch, end := w.SwitchWithPages()
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	l.mustDeliver(w, swtch+3*wal.PageSize)
	l.mustFlush()
	l = mustStart(t, disk.Crash(rand.New(rand.NewPCG(1, 1))), w)
	if l.position() != swtch {
		t.Errorf("position %s, want %s", l.position(), swtch)
	}
	l.mustDeliver(w, end)
	got, err := readAll(t.Context(), l.sink, 1, w.Options().Start, 0)
	if err != nil || !bytes.Equal(got, w.Bytes()) {
		t.Errorf("%d bytes of %d, %v", len(got), len(w.Bytes()), err)
	}
}

// The archive begins in a record whose beginning is elsewhere and which the server
// never completed: nothing of it can be verified, so nothing before the next
// segment is believed.
func TestPositionBehindAbandonedRecord(t *testing.T) {
	w := source(950)
	w.Abandon(waltest.LogicalMessage("abandoned", 300_000), 100_000)
	messages(w, 20)
	disk := crashfs.New()
	putSegments(t, disk, w)
	must(t, disk.Remove(filepath.Join(archive, name(w.Options().Start))))
	l := mustStart(t, disk, w)
	if l.position() != segSize.Start(w.End()) {
		t.Errorf("position %s, want %s", l.position(), segSize.Start(w.End()))
	}
}

// The archive begins in a record that goes on for more than a segment. Its rest,
// which no checksum covers, is durable before what follows it, after a restart in
// its middle as well.
func TestRestOfRecordIsDurableFirst(t *testing.T) {
	w := source(10)
	_, end := w.Append(waltest.LogicalMessage("large", 3*int(segSize)))
	messages(w, 10)
	begin := wal.LSN(2 << 20)
	for seed := range uint64(60) {
		disk := crashfs.New()
		put(t, disk, name(begin), w.Bytes()[segSize:2*segSize])
		l := mustStart(t, disk, w)
		if l.position() != begin+wal.LSN(segSize) {
			t.Fatalf("position %s", l.position())
		}
		l.mustDeliver(w, w.End())
		disk = disk.Crash(rand.New(rand.NewPCG(seed, 1)))
		l = mustStart(t, disk, w)
		if l.position() < segSize.Start(end) {
			t.Fatalf("seed %d: position %s", seed, l.position())
		}
		got, err := readAll(t.Context(), l.sink, 1, begin, 0)
		if err != nil || !bytes.Equal(got, w.Bytes()[segSize:l.position()-w.Options().Start]) {
			t.Errorf("seed %d: what lies before position %s is not what was sent (%v)", seed, l.position(), err)
		}
	}
}

// Of a new archive nothing is flushed before it can be told where it began; and
// an empty file that a crash leaves is no archive.
func TestNewArchive(t *testing.T) {
	w := source(1500)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	if !l.Result().New {
		t.Fatalf("answer %+v", l.Result())
	}
	if got := l.mustFlush(); got != 0 {
		t.Errorf("flushed %s of nothing", got)
	}
	l.mustDeliver(w, w.Options().Start+30)
	if got := l.mustFlush(); got != w.Options().Start {
		t.Errorf("flushed %s, but of an archive that ends there nobody knows whose it is", got)
	}
	for _, keep := range []float64{0, 1} {
		if after := mustStart(t, disk.CrashKeeping(rand.New(rand.NewPCG(1, 1)), keep), w); !after.Result().New {
			t.Errorf("answer %+v", after.Result())
		}
	}
	l.mustDeliver(w, w.Options().Start+40)
	if got := l.mustFlush(); got != w.Options().Start+40 {
		t.Errorf("flushed %s", got)
	}
	if l = mustStart(t, disk.Kill(), w); l.Result().New || l.position() != w.Options().Start {
		t.Errorf("answer %+v", l.Result())
	}
	// A file that holds nothing lies where a segment is to come: it is not mixed
	// with what is received, not even after power loss.
	disk = crashfs.New()
	noise := bytes.Repeat([]byte{0xEE}, int(segSize))
	put(t, disk, name(2<<20)+".partial", noise)
	l = mustStart(t, disk, w)
	if !l.Result().New {
		t.Fatalf("answer %+v", l.Result())
	}
	l.mustDeliver(w, w.Options().Start+wal.LSN(segSize)+100)
	disk = disk.CrashKeeping(rand.New(rand.NewPCG(1, 1)), 0)
	if bytes.Contains(get(t, disk, name(2<<20)+".partial"), noise[:16]) {
		t.Error("the bytes of a void file are among those received")
	}
}

func TestNewArchiveBeginsAtSegment(t *testing.T) {
	w := source(100)
	sink, _, _, err := openLogged(t, crashfs.New(), system())
	must(t, err)
	s, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), anywhere{sink, w.Options().Start + 8192}, system(), sinktest.Options{})
	must(t, err)
	wantError(t, s.Deliver(t.Context(), w.Bytes()), true, "start of a segment")
}

// anywhere is a new sink that claims a position.
type anywhere struct {
	*segmentfile.Sink
	at wal.LSN
}

func (a anywhere) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{SystemID: system().ID, Position: wal.Position{Timeline: 1, LSN: a.at}}, nil
}

// What else may lie in a directory: holes, other timelines, compressed segments,
// files of others, segments that are none.
func TestDirectories(t *testing.T) {
	w := source(4500) // segments 1 to 4, and part of 5
	seg := func(n wal.LSN) []byte { return w.Bytes()[(n-1)*wal.LSN(segSize):][:segSize] }
	rest := padded(w.Bytes()[4*segSize:])
	const one, two, three, four, five = "000000010000000000000001", "000000010000000000000002", "000000010000000000000003", "000000010000000000000004", "000000010000000000000005"
	otherCluster := bytes.Clone(seg(4))
	otherCluster[24]++
	for what, c := range map[string]struct {
		files map[string][]byte
		want  wal.LSN
		log   []string // words in the log
		err   []string // words of a permanent error
	}{
		"finished only":          {files: map[string][]byte{three: seg(3), four: seg(4)}, want: 5 << 20},
		"one partial":            {files: map[string][]byte{five + ".partial": rest}, want: w.End()},
		"a hole":                 {files: map[string][]byte{one: seg(1), four: seg(4), five + ".partial": rest}, want: w.End(), log: []string{"from=0/200000 to=0/400000"}},
		"two holes":              {files: map[string][]byte{one: seg(1), three: seg(3), five + ".partial": rest}, want: w.End(), log: []string{"from=0/200000 to=0/300000", "from=0/400000 to=0/500000"}},
		"a hole, void partial":   {files: map[string][]byte{three: seg(3), five + ".partial": make([]byte, segSize)}, want: 4 << 20},
		"old partial":            {files: map[string][]byte{two + ".partial": seg(2), three: seg(3), four: seg(4)}, want: 5 << 20},
		"old timeline":           {files: map[string][]byte{"00000001000000000000000F": seg(4), "00000001000000000000000F.partial": seg(1), "000000020000000000000004": seg(4)}, want: 5 << 20},
		"history, backup, other": {files: map[string][]byte{"00000002.history": nil, three + ".00000028.backup": nil, "notes.txt": nil, four: seg(4), four + ".bak": nil, "00000001000000000000FFFF": nil}, want: 5 << 20},
		"older ones compressed":  {files: map[string][]byte{two + ".gz": nil, three: seg(3), four: seg(4)}, want: 5 << 20},
		"compressed":             {files: map[string][]byte{three: seg(3), four + ".gz": nil}, err: []string{four + ".gz", "cannot be decompressed"}},
		"compressed partial":     {files: map[string][]byte{three + ".lz4": nil, four + ".lz4.partial": nil}, err: []string{three + ".lz4", "cannot be decompressed"}},
		"no segment":             {files: map[string][]byte{three: seg(3), four: rest}, err: []string{four, "not a WAL segment", "move it"}},
		"wrong place":            {files: map[string][]byte{three: seg(3), four: seg(3)}, err: []string{four, "not a WAL segment"}},
		"not whole":              {files: map[string][]byte{three: seg(3), four: seg(4)[:5000]}, err: []string{four, "5000 bytes instead of 1048576"}},
		"two clusters":           {files: map[string][]byte{four: otherCluster, five + ".partial": rest}, err: []string{four, five, "7000000000000000001", "7000000000000000002"}},
		"twin":                   {files: map[string][]byte{three: seg(3), four: seg(4), four + ".partial": padded(seg(4)[:9999])}, want: 5 << 20},
	} {
		delete(c.files, "00000001000000000000FFFF") // not a name of segments of this size
		disk := crashfs.New()
		for name, data := range c.files {
			put(t, disk, name, data)
		}
		sys := system()
		if strings.Contains(what, "old timeline") {
			sys.Timeline = 2
		}
		_, res, log, err := openLogged(t, disk, sys)
		if c.err != nil {
			wantError(t, err, true, c.err...)
			continue
		}
		if err != nil || res.Position != (wal.Position{Timeline: sys.Timeline, LSN: c.want}) || res.SystemID != sys.ID {
			t.Errorf("%s: answer %+v, %v; want %s", what, res, err, c.want)
		}
		for _, word := range c.log {
			if !strings.Contains(log, word) {
				t.Errorf("%s: log without %q:\n%s", what, word, log)
			}
		}
		if c.log == nil && log != "" {
			t.Errorf("%s: log %s", what, log)
		}
		for name, data := range c.files {
			if what == "twin" && strings.HasSuffix(name, ".partial") {
				if _, err := disk.Stat(filepath.Join(archive, name)); err == nil {
					t.Error("the second name of a finished segment is still there")
				}
				continue
			}
			if got := get(t, disk, name); !bytes.Equal(got, data) {
				t.Errorf("%s: %s was changed", what, name)
			}
		}
	}
}

func TestSegmentSizeChanged(t *testing.T) {
	w := source(1500)
	disk := crashfs.New()
	putSegments(t, disk, w)
	sys := system()
	sys.SegmentSize = 16 << 20
	_, _, _, err := openLogged(t, disk, sys)
	wantError(t, err, true, archive, "1048576", "16777216", "wal_segment_size", "base backup")
}

// A lock that is held is waited for.
func TestWaitsForPredecessor(t *testing.T) {
	w := source(10)
	disk := crashfs.New()
	first := mustStart(t, disk, w)
	opened := make(chan error)
	go func() {
		sink := segmentfile.New(config(archive), disk)
		_, err := sinktest.OpenSink(t.Context(), segmentfile.Definition(), sink, system(), sinktest.Options{Start: w.Options().Start, LockWait: time.Minute})
		opened <- err
	}()
	must(t, first.Close(t.Context()))
	must(t, <-opened)
}

// What is done to the disk for a segment, in which order.
func TestOrder(t *testing.T) {
	w := source(1100)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	disk.ClearLog()
	l.mustDeliver(w, w.Options().Start+1000)
	l.mustFlush()
	l.mustDeliver(w, w.Options().Start+2000)
	l.mustFlush()
	l.mustFlush()
	l.mustDeliver(w, w.End())
	l.mustFlush()
	want := `allocate 000000010000000000000001.partial 1048576
write 000000010000000000000001.partial 0+1000
sync 000000010000000000000001.partial
syncdir archive
write 000000010000000000000001.partial 1000+1000
sync 000000010000000000000001.partial
write 000000010000000000000001.partial 2000+2096
write 000000010000000000000001.partial 4096+258048
write 000000010000000000000001.partial 262144+262144
write 000000010000000000000001.partial 524288+262144
write 000000010000000000000001.partial 786432+262144
sync 000000010000000000000001.partial
link 000000010000000000000001.partial 000000010000000000000001
syncdir archive
remove 000000010000000000000001.partial
allocate 000000010000000000000002.partial 1048576
write 000000010000000000000002.partial 0+122880
write 000000010000000000000002.partial 122880+2432
sync`
	got := changes(disk) + "\n"
	if !strings.HasPrefix(got, want) {
		t.Errorf("done:\n%s\nwant at first:\n%s", got, want)
	}
}

// A name is a segment's only with the right directory entry: a directory that is
// named as one is left alone.
func TestDirectoryNamedAsSegment(t *testing.T) {
	disk := crashfs.New()
	must(t, disk.MkdirAll(filepath.Join(archive, name(1<<20)), 0o700))
	_, res, _, err := openLogged(t, disk, system())
	if err != nil || !res.New {
		t.Errorf("answer %+v, %v", res, err)
	}
}

// Small flushes that follow each other overwrite zeros that were written ahead,
// and a large one ends that.
func TestZerosAhead(t *testing.T) {
	w := source(900)
	disk := crashfs.New()
	l := mustStart(t, disk, w)
	at := w.Options().Start
	flush := func(n wal.LSN) string {
		disk.ClearLog()
		at += n
		l.mustDeliver(w, at)
		l.mustFlush()
		return strings.ReplaceAll(changes(disk), name(at)+".partial ", "")
	}
	flush(1000)
	for i, want := range []string{"write 1000+1000", "write 2000+1000\nwrite 3000+262144"} {
		if got := flush(1000); !strings.HasPrefix(got, want) || strings.Count(got, "write") != strings.Count(want, "write") {
			t.Errorf("flush %d: %s", i, got)
		}
	}
	for range 28 {
		if got := flush(8192); strings.Count(got, "write") != 1 {
			t.Errorf("at %s: %s", at, got)
		}
	}
	if got := flush(8192); !strings.Contains(got, "write 265144+") {
		t.Errorf("at %s: %s", at, got)
	}
	if got := flush(400_000); strings.Contains(got, fmt.Sprintf("write %d+", at-w.Options().Start)) || !bytes.Equal(until(w, at), get(t, disk, name(w.Options().Start)+".partial")[:at-w.Options().Start]) {
		t.Errorf("after a large flush: %s", got)
	}
}
