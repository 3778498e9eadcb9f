package demo

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const sampleDump = `first record is after 0/1500700, at 0/1500708, skipping over 8 bytes
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/01500708, prev 0/015006D0, desc: CHECKPOINT_SHUTDOWN redo 0/1500708; tli 1
rmgr: Heap        len (rec/tot):     63/  8191, tx:        731, lsn: 0/01500780, prev 0/01500708, desc: INSERT off 1 flags 0x00, blkref #0: rel 1663/5/16384 blk 0 FPW
rmgr: LogicalMessage len (rec/tot):     63/    63, tx:    731, lsn: 0/01502798, prev 0/01500780, desc: MESSAGE transactional, prefix "a, lsn: 0/1, ": LONG
rmgr: XLOG        len (rec/tot):    114/   120, tx:          0, lsn: 0/015027D8, prev 0/01502798, desc: CHECKPOINT_SHUTDOWN redo 0/15027D8; tli 1
`

func TestDumpIsRead(t *testing.T) {
	text := strings.Replace(sampleDump, "LONG", strings.Repeat("00 ", 100_000), 1)
	d, err := readDump(strings.NewReader(text), 0x1500780, 0x15027D8)
	want := dump{records: 4, first: 0x1500708, last: 0x15027D8, length: 120, describes: "CHECKPOINT_SHUTDOWN redo 0/15027D8; tli 1", within: 2}
	if err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("%+v, %v; want %+v", d, err, want)
	}
	for _, bad := range []string{"rmgr: XLOG        len\n", "rmgr: XLOG   lsn: 0/0, \n", "rmgr: XLOG, lsn: 0/15, prev\n", "rmgr: XLOG, lsn: 0/X, prev\n"} {
		if d, err := readDump(strings.NewReader(sampleDump+bad), 0, 0); err == nil {
			t.Errorf("%q was read as %+v", bad, d)
		}
	}
}

// TestRecordEnd compares with where records of all kinds were written.
func TestRecordEnd(t *testing.T) {
	w := waltest.Random(7, waltest.Options{}, 5<<20)
	size, crossed := w.Options().SegmentSize, 0
	for _, r := range w.Records() {
		const xlogSwitch = 0x40 // such a record ends with its segment
		if r.Raw[17] == 0 && r.Raw[16]&0xF0 == xlogSwitch {
			continue
		}
		if got := recordEnd(r.Start, uint32(len(r.Raw)), size); got != r.End {
			t.Fatalf("a record of %d bytes at %s ends at %s, want %s", len(r.Raw), r.Start, got, r.End)
		}
		if size.SegNo(r.Start) != size.SegNo(r.End-1) {
			crossed++
		}
	}
	if crossed == 0 {
		t.Error("no record crosses the end of a segment")
	}
}

func TestDumpIsToldTheSegments(t *testing.T) {
	c := control{timeline: 1, size: wal.DefaultSegmentSize, checkpoint: 0x3FFFFC8}
	dir := t.TempDir()
	want := []string{"--path", dir, "--start", "0/1500708", "000000010000000000000001", "000000010000000000000003"}
	if got := dumpArgs(dir, c, 0x1500708); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The record may go on in the next segment, where that is there.
	if err := os.WriteFile(filepath.Join(dir, "000000010000000000000004"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want[5] = "000000010000000000000004"
	if got := dumpArgs(dir, c, 0x1500708); !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
