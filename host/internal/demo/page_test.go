package demo

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// Where the sample page has its hole.
const (
	holeFrom = 100
	holeTo   = 8000
)

// samplePages are a page as a server has it, with something left over in the
// hole, and as its image restores it.
func samplePages() (got, want []byte) {
	got, want = make([]byte, wal.BlockSize), make([]byte, wal.BlockSize)
	for i := range want {
		want[i] = byte(i%251) + 1
	}
	binary.NativeEndian.PutUint16(want[pageLower:], holeFrom)
	binary.NativeEndian.PutUint16(want[pageUpper:], holeTo)
	copy(got, want)
	clear(got[holeFrom:holeTo])
	got[pageChecksum], got[pageChecksum+1] = 0, 0
	return got, want
}

func TestPagesAreCompared(t *testing.T) {
	got, want := samplePages()
	if n, err := comparePages(got, want); err != nil || n != wal.BlockSize-2 {
		t.Errorf("compared %d bytes: %v", n, err)
	}
	for _, at := range []int{0, pageFlags, pageLower, holeFrom - 1, holeFrom, holeTo - 1, holeTo, wal.BlockSize - 1} {
		got, want := samplePages()
		got[at] ^= 0x80
		if _, err := comparePages(got, want); err == nil || !strings.Contains(err.Error(), "of the page is") {
			t.Errorf("a difference at byte %d was not found: %v", at, err)
		}
	}
	if _, err := comparePages(got[:100], want); err == nil {
		t.Error("a page of 100 bytes is none")
	}
	// Where the server's page has no valid header, nothing is excepted.
	binary.NativeEndian.PutUint16(got[pageUpper:], 50)
	binary.NativeEndian.PutUint16(want[pageUpper:], 50)
	if _, err := comparePages(got, want); err == nil {
		t.Error("zeros were taken for a hole of a page that has none")
	}
}
