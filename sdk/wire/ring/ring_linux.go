package ring

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Supported reports whether this system has what a ring needs, but for an old
// kernel.
const Supported = true

// seals are what a ring is sealed with (linux/fcntl.h; FUTURE_WRITE since 5.1).
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

// Create makes a ring of so many bytes (see [Slots]), and makes this process not
// dumpable. Memory is taken from the system as slots are first written to.
func Create(bytes int64) (*Ring, error) {
	size := int64(Slots(bytes)) * SlotSize
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("shared ring: prctl(PR_SET_DUMPABLE, 0): %w", err)
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("walplex-ring", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("walplex-ring", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("shared ring: memfd_create: %w", err)
	}
	r := &Ring{file: os.NewFile(uintptr(fd), "walplex-ring")}
	if err := r.fill(fd, size); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// fill gives the file its size, maps it, and seals it: in this order, because
// nobody may map it for writing after.
func (r *Ring) fill(fd int, size int64) (err error) {
	if err := unix.Ftruncate(fd, size); err != nil {
		return fmt.Errorf("shared ring: ftruncate to %d bytes: %w", size, err)
	}
	if r.mem, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("shared ring: mmap of %d bytes: %w", size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("shared ring: fcntl(F_ADD_SEALS): %w; it needs Linux 5.1", err)
	}
	return nil
}

// Close gives the memory back to the system once the sinks' mappings are gone.
// No slot may be touched any more.
func (r *Ring) Close() error {
	var err error
	if r.mem != nil {
		err = unix.Munmap(r.mem)
		r.mem = nil
	}
	return errors.Join(err, r.file.Close())
}

// Map maps the ring behind an inherited descriptor, for reading, and closes the
// descriptor, so that what this process starts itself does not get it. The
// mapping lasts as long as the process.
func Map(fd int) (*Mapping, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("shared ring: descriptor %d: %w", fd, err)
	}
	// Not sealed, its pages could vanish while they are read.
	if got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || got&unix.F_SEAL_SHRINK == 0 {
		return nil, fmt.Errorf("shared ring: descriptor %d is no sealed memory (seals %#x, %v)", fd, got, err)
	}
	if st.Size <= 0 || st.Size > MaxSlots*SlotSize {
		return nil, fmt.Errorf("shared ring: descriptor %d has %d bytes", fd, st.Size)
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("shared ring: mmap of %d bytes: %w", st.Size, err)
	}
	return &Mapping{mem: mem}, nil
}
