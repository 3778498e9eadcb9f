package sdk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// beginner is a sink that begins with a base backup.
type beginner struct {
	*probe
	onData func(ctx context.Context) error
	start  *BackupStart
}

func newBeginner() *beginner {
	return &beginner{probe: &probe{onOpen: func(*OpenRequest) (OpenResult, error) { return OpenResult{New: true, WantsBackup: true}, nil }}}
}

func (b *beginner) BeginBackup(_ context.Context, s *BackupStart) error {
	b.start = s
	b.call("begin-%s", s.Start)
	return nil
}

func (b *beginner) BackupFile(_ context.Context, f *BackupFile) error {
	b.call("%s:%s:%d", f.Name, f.Mode, f.Size)
	return nil
}

func (b *beginner) BackupData(ctx context.Context, p []byte) error {
	b.call("%s", p)
	if b.onData != nil {
		return b.onData(ctx)
	}
	return nil
}

func (b *beginner) EndBackup(_ context.Context, end wal.Position) error {
	b.call("end-%s", end)
	return nil
}

// backsUp is the option of a sink that always wishes.
func backsUp() Option { return BaseBackup[probeConfig](nil) }

func (h host) chunk(c *wire.BackupChunk) {
	h.t.Helper()
	h.send(&wire.HostMessage{Message: &wire.HostMessage_Backup{Backup: c}})
}

// small is a backup that begins at start.
func small(start wal.LSN) []*wire.BackupChunk {
	return []*wire.BackupChunk{
		{StartLsn: uint64(start), Timeline: 3, TotalBytes: 9, Tablespaces: []*wire.BackupTablespace{{Oid: 16400, Location: "/fast"}}},
		{File: "base", Directory: true, Mode: 0o700},
		{File: "base/1", Size: 6, Mode: 0o600, Data: []byte("four")},
		{File: "base/1", Size: 6, Mode: 0o600, Data: []byte("05"), Offset: 4},
		{File: "empty", Mode: 0o600},
		{File: "backup_manifest", Size: 3, Mode: 0o600, Data: []byte("{}\n")},
		{EndLsn: 0x9000, Timeline: 3},
	}
}

// TestBackup: the backup comes to the sink file by file, and WAL follows from its
// start on.
func TestBackup(t *testing.T) {
	b := newBeginner()
	client := serve(t, b, Records(), backsUp())
	d, err := client.Describe(within(t), &wire.DescribeRequest{})
	if err != nil || !slices.Contains(d.Capabilities, wire.CapBackup) {
		t.Errorf("capabilities %v, %v", d.GetCapabilities(), err)
	}
	if o := open(t, client); !o.IsNew || !o.Wishes.GetBaseBackup() {
		t.Fatalf("Open answers %v", o)
	}
	w, blocks, ends := threeBlocks(t)
	start := w.Records()[0].Start
	h := stream(t, within(t), client, 0)
	list := small(start)
	for _, c := range list {
		h.chunk(c)
	}
	var done *wire.BackupDone
	for done == nil {
		done = h.recv().GetBackupDone()
	}
	if done.Timeline != 3 || wal.LSN(done.Lsn) != start {
		t.Errorf("the sink is at %s on timeline %d, want %s", wal.LSN(done.Lsn), done.Timeline, start)
	}
	p := h.recv().GetProgress()
	if p.GetBackupChunks() != uint64(len(list)) || wal.LSN(p.GetFlushedLsn()) != start {
		t.Errorf("after %d chunks and position %s: %v", len(list), start, p)
	}
	h.block(blocks[0])
	h.progress(ends[0], start, 0, 0, 1)
	at := func(lsn wal.LSN) wal.Position { return wal.Position{Timeline: 3, LSN: lsn} }
	want := fmt.Sprintf("open begin-%s base:drwx------:0 base/1:-rw-------:6 four 05 empty:-rw-------:0 backup_manifest:-rw-------:3 {}\n end-%s write-%s",
		at(start), at(0x9000), ends[0])
	if got := b.list(); got != want {
		t.Errorf("the calls are\n%s, want\n%s", got, want)
	}
	if s := b.start; s.Bytes != 9 || len(s.Tablespaces) != 1 || s.Tablespaces[0] != (BackupTablespace{16400, "/fast"}) || s.Start.LSN != start {
		t.Errorf("the backup begins with %+v", s)
	}
	if err := h.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if r, err := client.Drain(within(t), &wire.DrainRequest{}); err != nil || wal.LSN(r.FlushedLsn) != ends[0] || r.Timeline != 3 {
		t.Errorf("Drain answers %v, %v", r, err)
	}
}

// TestBackupOfRaw: raw WAL comes from the start of the backup's segment on.
func TestBackupOfRaw(t *testing.T) {
	client := serve(t, newBeginner(), RawWAL(), backsUp())
	open(t, client)
	h := stream(t, within(t), client, 0)
	for _, c := range small(0x345678) {
		h.chunk(c)
	}
	var done *wire.BackupDone
	for done == nil {
		done = h.recv().GetBackupDone()
	}
	if wal.LSN(done.Lsn) != 0x300000 {
		t.Errorf("the sink is at %s", wal.LSN(done.Lsn))
	}
}

// TestBackupBroken: what is no backup is not taken.
func TestBackupBroken(t *testing.T) {
	edit := func(f func(list []*wire.BackupChunk)) []*wire.BackupChunk {
		list := small(0x3000)
		f(list)
		return list
	}
	for name, list := range map[string][]*wire.BackupChunk{
		"no start":         small(0x3000)[1:],
		"two starts":       slices.Insert(small(0x3000), 1, small(0x3000)[0]),
		"a hole":           edit(func(l []*wire.BackupChunk) { l[3].Offset = 5 }),
		"too much":         edit(func(l []*wire.BackupChunk) { l[3].Data = []byte("567") }),
		"a file cut short": slices.Delete(small(0x3000), 3, 4),
		"the end too soon": {small(0x3000)[0], small(0x3000)[2], small(0x3000)[6]},
		"another file":     edit(func(l []*wire.BackupChunk) { l[3].File = "base/2" }),
		"up":               edit(func(l []*wire.BackupChunk) { l[4].File = "../empty" }),
		"absolute":         edit(func(l []*wire.BackupChunk) { l[4].File = "/empty" }),
		"after the end":    append(small(0x3000), small(0x3000)[1]),
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, newBeginner(), Records(), backsUp())
			open(t, client)
			h := stream(t, within(t), client, 0)
			for _, c := range list {
				h.chunk(c)
			}
			h.fault(wire.Fault_PERMANENT, "backup")
		})
	}
}

// TestBackupGivenUp: a sink that has no whole backup is closed without a flush, and
// its calls end with the stream.
func TestBackupGivenUp(t *testing.T) {
	b := newBeginner()
	entered := make(chan struct{})
	b.onData = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	client := serve(t, b, Records(), backsUp())
	open(t, client)
	ctx, cancel := context.WithCancel(within(t))
	h := stream(t, ctx, client, 0)
	for _, c := range small(0x3000)[:3] {
		h.chunk(c)
	}
	<-entered
	cancel()
	if _, err := client.Drain(within(t), &wire.DrainRequest{}); err == nil {
		t.Error("a call that has failed is no end in order")
	}
	if got := b.list(); strings.Contains(got, "flush") || !strings.HasSuffix(got, "close") {
		t.Errorf("the calls are %s", got)
	}
}

// TestWishes: what the sink's program cannot mean is refused, and a host that gives
// no backups too.
func TestWishes(t *testing.T) {
	for name, c := range map[string]struct {
		sink Sink
		o    []Option
		text string
	}{
		"not new": {&beginner{probe: &probe{onOpen: func(*OpenRequest) (OpenResult, error) {
			return OpenResult{WantsBackup: true, SystemID: 7, Position: wal.Position{Timeline: 3, LSN: 0x3000}}, nil
		}}}, []Option{Records(), backsUp()}, "is not new"},
		"no option":  {newBeginner(), []Option{Records()}, "lacks"},
		"no methods": {newBeginner().probe, []Option{Records(), backsUp()}, "lacks"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, c.sink, c.o...).Open(within(t), openRequest())
			wants(t, err, codes.FailedPrecondition, c.text)
		})
	}
	client := serve(t, newBeginner(), Records(), backsUp())
	open(t, client)
	_, err := stream(t, within(t), client, 0x3000).Recv()
	wants(t, err, codes.FailedPrecondition, "does not give")
	client = serve(t, newBeginner(), Records(), backsUp())
	open(t, client)
	_, b, _ := threeBlocks(t)
	h := stream(t, within(t), client, 0)
	h.block(b[0])
	h.fault(wire.Fault_PERMANENT, "before the base backup")
}

// TestWishAtValidate: the host learns of the wish before anything is opened.
func TestWishAtValidate(t *testing.T) {
	for _, wish := range []bool{true, false} {
		client := serve(t, newBeginner(), Records(), BaseBackup(func(c *probeConfig) bool { return wish && c.Name == "n" }))
		r, err := client.Validate(within(t), &wire.ValidateRequest{ConfigJson: []byte(`{"name":"n"}`)})
		if err != nil || r.Wishes.GetBaseBackup() != wish {
			t.Errorf("Validate answers %v, %v", r, err)
		}
	}
}
