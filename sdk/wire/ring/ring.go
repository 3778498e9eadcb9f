// Package ring is the memory that the host shares with its sinks: it lays out a
// block of WAL once, and every sink that may see all of it reads it there. gRPC
// then carries only where a block lies. The host and package sdk share this
// package; authors of sinks get no promise here.
//
//	0            1 MiB         2 MiB         3 MiB
//	├─ slot 0 ────┼─ slot 1 ────┼─ slot 2 ────┼ …
//	│block│ free  │block   │    │block│       │
//
// The memory is an anonymous file (memfd_create(2)) of slots of [SlotSize] bytes.
// A slot holds one block, from its first byte on, in the layout of package wire.
// Which slots are free is the host's to know: nothing in the memory says so.
//
// Only the host writes. It maps the file for writing and then seals it:
// F_SEAL_FUTURE_WRITE refuses every later mapping for writing, mprotect, write
// and hole punching, F_SEAL_SHRINK and F_SEAL_GROW every change of its size, and
// F_SEAL_SEAL keeps it so. A sink inherits the descriptor, checks the seals, so
// that no page can vanish under it, and maps the file for reading.
//
// A process of the same user could still write to the host's own memory through
// /proc: [Create] makes the process not dumpable, which closes that way (and with
// it core dumps of the host, and debuggers of other users than root).
//
// Linux only, from 5.1 on; [Create] answers an error elsewhere.
package ring

import (
	"fmt"
	"os"
)

const (
	// SlotSize is the size of a slot in bytes: a full block with the index of
	// records of 100 bytes needs about half of it. A block that needs more is kept
	// elsewhere and sent over gRPC.
	SlotSize = 1 << 20
	// MinSlots and MaxSlots bound the size of a ring.
	MinSlots = 16
	MaxSlots = 64 << 10
)

// Ring is the host's side. Its methods may be called from several goroutines;
// what lies in a slot is its user's to guard.
type Ring struct {
	mem  []byte
	file *os.File
}

// Slots is the number of slots in a ring of so many bytes: rounded up, and
// within the limits.
func Slots(bytes int64) int {
	return int(min(max((bytes+SlotSize-1)/SlotSize, MinSlots), MaxSlots))
}

// Slots is the number of slots.
func (r *Ring) Slots() int { return len(r.mem) / SlotSize }

// Size is the size in bytes.
func (r *Ring) Size() int64 { return int64(len(r.mem)) }

// Slot is the memory of slot i: of length 0, and with a capacity that ends with
// the slot, so that append moves what outgrows it to the heap.
func (r *Ring) Slot(i int) []byte {
	at := i * SlotSize
	return r.mem[at : at : at+SlotSize]
}

// Offset is where slot i begins, in bytes from the start of the memory.
func (r *Ring) Offset(i int) uint64 { return uint64(i) * SlotSize }

// File is the descriptor that a sink is given. It stays the ring's.
func (r *Ring) File() *os.File { return r.file }

// Mapping is a sink's side: the same memory, for reading only.
type Mapping struct{ mem []byte }

// Bytes is what lies at an offset, both in bytes. It is valid until the host is
// told that the block is released.
func (m *Mapping) Bytes(offset, length uint64) ([]byte, error) {
	size := uint64(len(m.mem))
	if offset > size || length > size-offset {
		return nil, fmt.Errorf("%d bytes at %d lie outside of the shared ring of %d bytes", length, offset, size)
	}
	return m.mem[offset : offset+length : offset+length], nil
}

// Size is the size in bytes.
func (m *Mapping) Size() int64 { return int64(len(m.mem)) }
