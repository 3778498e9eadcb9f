package crc32c

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestStaysInside computes CRCs of what ends and begins right beside pages that
// cannot be read: a byte too many would end the test with a fault.
func TestStaysInside(t *testing.T) {
	page := unix.Getpagesize()
	m, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	}()
	inside := m[page : 2*page]
	copy(inside, random(page))
	for _, guard := range [][]byte{m[:page], m[2*page:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 1500 {
		for _, p := range [][]byte{inside[:n], inside[page-n:]} {
			if got := Update(0, p); got != want(0, p) {
				t.Fatalf("%d bytes: %08X", n, got)
			}
			if n >= headerSize && Record(p) != wantRecord(p) {
				t.Fatalf("record of %d bytes", n)
			}
		}
	}
}
