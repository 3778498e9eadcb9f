package pagestore

import (
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// fullDisk fails what is written to the images while it is full.
type fullDisk struct {
	full bool
	met  func() // called when it fails
}

func (f *fullDisk) String() string { return "full disk" }

func (f *fullDisk) MaybeError(op errorfs.Op) error {
	if !f.full || !strings.Contains(op.Path, "/images") || op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	if f.met != nil {
		f.met()
	}
	return syscall.ENOSPC
}

// TestCollectFullDisk has a Collect fail on a disk that is full, whether or not it
// was to end early: what is counted of the images is what keys lead to, and the next
// one, when there is room again, does all.
func TestCollectFullDisk(t *testing.T) {
	for _, early := range []bool{false, true} {
		g := newGenerator(5)
		disk := &fullDisk{}
		s, err := Open(t.Context(), "/d", Options{FS: errorfs.Wrap(vfs.NewMem(), disk), MaxLogFile: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		all := openTest(t, vfs.NewMem(), "/d")
		beginAs(t, s, g.w, true)
		beginAs(t, all, g.w, true)
		for round := range 3 {
			for range 300 {
				g.step()
			}
			appendAll(t, s, g.w)
			appendAll(t, all, g.w)
			if early {
				disk.met = func() { s.collector.stop()() }
			}
			disk.full = true
			if _, err := s.Collect(t.Context(), CollectOptions{Retain: 3000, MaxReplay: 3}); err == nil && !early || err != nil && !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
				t.Fatalf("on a full disk: %v", err)
			}
			if err := checkImages(s); err != nil {
				t.Fatal(err)
			}
			disk.full = false
			if round == 1 {
				continue // as if it stayed full until more has come
			}
			if done, err := s.Collect(t.Context(), CollectOptions{Retain: 3000, MaxReplay: 3}); err != nil || done.Images == 0 {
				t.Fatalf("when there is room: %+v, %v", done, err)
			}
			if err := checkImages(s); err != nil {
				t.Fatal(err)
			}
			st := s.Visible()
			if err := sameReads(t.Context(), s, all, g.pages, st.Horizon); err != nil {
				t.Fatal(err)
			}
		}
		closeTest(t, s)
		closeTest(t, all)
	}
}
