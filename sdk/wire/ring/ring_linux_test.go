package ring

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attackEnv makes this test binary a sink's process that tries to write to the
// ring behind descriptor 3.
const attackEnv = "RING_TEST_ATTACK"

func TestMain(m *testing.M) {
	name := os.Getenv(attackEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	fmt.Println(attacks[name].try())
	os.Exit(0)
}

// ringFD is the descriptor's number in the child.
const ringFD = 3

// attacks are what a child can do with what it is given. Each answers the
// kernel's refusal.
var attacks = map[string]struct {
	try  func() error
	want error // nil: the process dies of SIGSEGV
}{
	"store through the mapping": {func() error {
		mapped()[5] = 'X'
		return nil
	}, nil},
	"mmap for writing": {func() error {
		_, err := unix.Mmap(ringFD, 0, SlotSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return err
	}, unix.EPERM},
	"mprotect": {func() error { return unix.Mprotect(mapped(), unix.PROT_READ|unix.PROT_WRITE) }, unix.EACCES},
	"mremap": {func() error {
		// A larger view of the same file is no more writable than the first.
		at, _, errno := unix.Syscall6(unix.SYS_MREMAP, uintptr(unsafe.Pointer(&mapped()[0])), SlotSize, 2*SlotSize, unix.MREMAP_MAYMOVE, 0, 0)
		if errno != 0 {
			return errno
		}
		_, _, errno = unix.Syscall(unix.SYS_MPROTECT, at, 2*SlotSize, unix.PROT_READ|unix.PROT_WRITE)
		return errno
	}, unix.EACCES},
	"shrink": {func() error { return unix.Ftruncate(ringFD, SlotSize) }, unix.EPERM},
	"grow":   {func() error { return unix.Ftruncate(ringFD, 1<<30) }, unix.EPERM},
	"write":  {func() error { _, err := unix.Write(ringFD, []byte("X")); return err }, unix.EPERM},
	"pwrite": {func() error { _, err := unix.Pwrite(ringFD, []byte("X"), 100); return err }, unix.EPERM},
	"punch a hole": {func() error {
		return unix.Fallocate(ringFD, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, SlotSize)
	}, unix.EPERM},
	"madvise remove": {func() error { return unix.Madvise(mapped(), unix.MADV_REMOVE) }, unix.EACCES},
	"unseal":         {func() error { _, err := unix.FcntlInt(ringFD, unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err }, unix.EPERM},
	"open again and write": {func() error {
		fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(ringFD), unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = unix.Pwrite(fd, []byte("X"), 0)
		return err
	}, unix.EPERM},
	"open again and map": {func() error {
		fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(ringFD), unix.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = unix.Mmap(fd, 0, SlotSize, unix.PROT_WRITE, unix.MAP_SHARED)
		return err
	}, unix.EPERM},
	"truncate at open": {func() error {
		_, err := unix.Open("/proc/self/fd/"+strconv.Itoa(ringFD), unix.O_RDWR|unix.O_TRUNC, 0)
		return err
	}, unix.EPERM},
	"the host's memory": {func() error {
		_, err := unix.Open(fmt.Sprintf("/proc/%d/mem", os.Getppid()), unix.O_RDWR, 0)
		return err
	}, unix.EACCES},
	"the host's descriptors": {func() error {
		_, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", os.Getppid()))
		return errors.Unwrap(err)
	}, unix.EACCES},
	"process_vm_writev": {func() error {
		b := []byte("X")
		_, err := unix.ProcessVMWritev(os.Getppid(), []unix.Iovec{{Base: &b[0], Len: 1}}, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&b[0])), Len: 1}}, 0)
		return err
	}, unix.EPERM},
}

// mapped is the memory as package sdk maps it; the descriptor stays open here.
func mapped() []byte {
	fd, err := unix.Dup(ringFD)
	if err != nil {
		panic(err)
	}
	m, err := Map(fd)
	if err != nil {
		panic(err)
	}
	return m.mem
}

// TestOnlyTheHostWrites starts a process with the ring's descriptor for each way
// to change its memory: the kernel refuses them all, and what the host wrote is
// still there. As root, which has power over /proc, the child is another user.
func TestOnlyTheHostWrites(t *testing.T) {
	r := create(t, MinSlots*SlotSize)
	content := []byte("written by the host")
	for i := range r.Slots() {
		copy(r.Slot(i)[:SlotSize], content)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Args[0] = self
			cmd.Env = []string{attackEnv + "=" + name, "GOTRACEBACK=none"}
			cmd.ExtraFiles = []*os.File{r.File()}
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			out, err := cmd.CombinedOutput()
			switch got := strings.TrimSpace(string(out)); {
			case a.want == nil:
				if err == nil || !strings.Contains(got, "SIGSEGV") {
					t.Errorf("the process answers %q, %v", got, err)
				}
			case err != nil || got != a.want.Error():
				t.Errorf("refused with %q, %v; want %q", got, err, a.want)
			}
			for i := range r.Slots() {
				if b := r.Slot(i)[:len(content)]; !bytes.Equal(b, content) {
					t.Fatalf("slot %d now holds %q", i, b)
				}
			}
		})
	}
}

func create(t *testing.T, n int64) *Ring {
	t.Helper()
	r, err := Create(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// What the host writes is what a sink reads, at the offset of the slot.
func TestShared(t *testing.T) {
	r := create(t, 20*SlotSize-1)
	if r.Slots() != 20 || r.Size() != 20*SlotSize {
		t.Fatalf("%d slots, %d bytes", r.Slots(), r.Size())
	}
	fd, err := unix.Dup(int(r.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Map(fd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the descriptor is open after Map: %v", err)
	}
	for i := range r.Slots() {
		slot := append(r.Slot(i), fmt.Sprintf("slot %d", i)...)
		if got, err := m.Bytes(r.Offset(i), uint64(len(slot))); err != nil || !bytes.Equal(got, slot) {
			t.Errorf("slot %d reads %q, %v", i, got, err)
		}
	}
	for _, c := range [][2]uint64{{0, 20*SlotSize + 1}, {20 * SlotSize, 1}, {20*SlotSize + 1, 0}, {1 << 63, 1 << 63}, {1, 1<<64 - 1}, {1<<64 - 1, 1}} {
		if got, err := m.Bytes(c[0], c[1]); err == nil {
			t.Errorf("%d bytes at %d: %d", c[1], c[0], len(got))
		}
	}
	if b, err := m.Bytes(20*SlotSize, 0); err != nil || len(b) != 0 {
		t.Errorf("nothing at the end: %v", err)
	}
}

// What outgrows its slot moves away instead of into the next one.
func TestSlotEnds(t *testing.T) {
	r := create(t, 0)
	copy(r.Slot(1)[:1], "n")
	slot := r.Slot(0)[:SlotSize]
	grown := append(slot, "more"...)
	if cap(slot) != SlotSize || &grown[0] == &slot[0] || r.Slot(1)[:1][0] != 'n' {
		t.Error("slot 0 runs into slot 1")
	}
}

// A descriptor that is no ring is refused.
func TestMapRefuses(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(SlotSize); err != nil {
		t.Fatal(err)
	}
	unsealed, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(empty), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	plain, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for name, fd := range map[string]int{"a file": plain, "memory without seals": unsealed, "empty": empty, "not open": 1 << 20} {
		if _, err := Map(fd); err == nil {
			t.Errorf("%s is mapped", name)
		}
	}
}

func TestSlots(t *testing.T) {
	for bytes, want := range map[int64]int{0: MinSlots, 1: MinSlots, 16 << 20: 16, 16<<20 + 1: 17, 64 << 20: 64, 1 << 60: MaxSlots} {
		if got := Slots(bytes); got != want {
			t.Errorf("%d bytes make %d slots, want %d", bytes, got, want)
		}
	}
}
