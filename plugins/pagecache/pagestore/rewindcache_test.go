package pagestore

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// onIndexWrite calls f before each write to a file of the index, while that is set.
type onIndexWrite struct{ f func() }

func (o *onIndexWrite) String() string { return "on index write" }

func (o *onIndexWrite) MaybeError(op errorfs.Op) error {
	if o.f != nil && op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "/index/") {
		o.f()
	}
	return nil
}

// TestRewindReadMeanwhile reads a page while the store goes over to a timeline that
// begins where its last record ends, though a part of the next one had come: as of
// what had come, the page is another on the new timeline.
func TestRewindReadMeanwhile(t *testing.T) {
	hook := &onIndexWrite{}
	s, err := Open(t.Context(), "/d", Options{FS: errorfs.Wrap(vfs.NewMem(), hook)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeTest(t, s)
	w := onePage()
	fill(t, s, w)
	end := w.End()
	if err := s.Commit(t.Context(), Progress{Position: end, LastValid: end + 20_000}); err != nil {
		t.Fatal(err)
	}
	reads := 0
	hook.f = func() {
		a, err := s.ReadPage(t.Context(), testPage, 0)
		if reads++; err != nil || a.At != end {
			t.Errorf("during the switch, of which %s is known: %v, %s", end, err, a)
		}
	}
	if err := s.Rewind(t.Context(), 2, end); err != nil {
		t.Fatal(err)
	}
	hook.f = nil
	b := w.Branch(2, end)
	page := waltest.HeapPage(4000, 77)
	_, changed := b.Append(waltest.FullPageImage(testPage.Rel, testPage.Block, page))
	fillFrom(t, s, b, nil)
	a, err := s.ReadPage(t.Context(), testPage, 0)
	if err != nil || a.LastLSN != changed || !bytes.Equal(a.Page[wal.BlockSize-100:], page[wal.BlockSize-100:]) {
		t.Errorf("after the switch the page is of %s, want %s; %v", a.LastLSN, changed, err)
	}
	if reads == 0 {
		t.Error("nothing was read")
	}
}
