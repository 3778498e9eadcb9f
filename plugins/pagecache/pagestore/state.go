package pagestore

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// State is what the store holds.
type State struct {
	SystemID    uint64 // of the cluster
	Timeline    wal.TimelineID
	SegmentSize wal.SegmentSize // wal_segment_size
	Horizon     wal.LSN         // all records that start at or after it are held, up to Position
	Position    wal.LSN         // a record's end, or where a new store begins
	LastRecord  wal.LSN         // end of the last record; the horizon before the first
	LastValid   wal.LSN         // of the WAL received: no record that ends at or before it is missing
	BaseLSN     wal.LSN         // where the base backup began that the store began with; 0 without one

	log logState
}

// logState is where the log of values ends.
type logState struct {
	file   uint32  // number, from 1; 0 before the first
	length int64   // bytes of that file that count
	first  wal.LSN // start of its first record
	last   wal.LSN // end of its last record
}

const stateSize = 88

func (s *State) encode() (b [stateSize]byte) {
	le.PutUint64(b[0:], s.SystemID)
	le.PutUint32(b[8:], uint32(s.Timeline))
	le.PutUint32(b[12:], uint32(s.SegmentSize))
	le.PutUint64(b[16:], uint64(s.Horizon))
	le.PutUint64(b[24:], uint64(s.Position))
	le.PutUint64(b[32:], uint64(s.LastRecord))
	le.PutUint64(b[40:], uint64(s.LastValid))
	le.PutUint32(b[48:], s.log.file)
	le.PutUint64(b[56:], uint64(s.log.length))
	le.PutUint64(b[64:], uint64(s.log.first))
	le.PutUint64(b[72:], uint64(s.log.last))
	le.PutUint64(b[80:], uint64(s.BaseLSN))
	return b
}

func decodeState(b []byte) (State, error) {
	if len(b) != stateSize {
		return State{}, fmt.Errorf("%w: a state of %d bytes, want %d", ErrDamaged, len(b), stateSize)
	}
	return State{
		SystemID:    le.Uint64(b[0:]),
		Timeline:    wal.TimelineID(le.Uint32(b[8:])),
		SegmentSize: wal.SegmentSize(le.Uint32(b[12:])),
		Horizon:     wal.LSN(le.Uint64(b[16:])),
		Position:    wal.LSN(le.Uint64(b[24:])),
		LastRecord:  wal.LSN(le.Uint64(b[32:])),
		LastValid:   wal.LSN(le.Uint64(b[40:])),
		BaseLSN:     wal.LSN(le.Uint64(b[80:])),
		log: logState{
			file:   le.Uint32(b[48:]),
			length: int64(le.Uint64(b[56:])),
			first:  wal.LSN(le.Uint64(b[64:])),
			last:   wal.LSN(le.Uint64(b[72:])),
		},
	}, nil
}

// Complete reports that the store began with a base backup: it knows of every
// page what it is, also of those that no record touched.
func (s *State) Complete() bool { return s.BaseLSN != 0 }

// imagesState is what is durable of the images. It has a key of its own, because
// whoever makes images does so while records come in.
type imagesState struct {
	log     logState // where the log of images ends
	horizon wal.LSN  // what was collected: nothing can be read as of an LSN before it; 0: nothing was
	swept   wal.LSN  // no key at or before it needs a record of the log of values
	made    wal.LSN  // pages with long histories have images up to it
}

const imagesStateSize = 40

func (s *imagesState) encode() (b [imagesStateSize]byte) {
	le.PutUint32(b[0:], s.log.file)
	le.PutUint64(b[8:], uint64(s.log.length))
	le.PutUint64(b[16:], uint64(s.horizon))
	le.PutUint64(b[24:], uint64(s.swept))
	le.PutUint64(b[32:], uint64(s.made))
	return b
}

func decodeImagesState(b []byte) (imagesState, error) {
	if len(b) != imagesStateSize {
		return imagesState{}, fmt.Errorf("%w: a state of the images of %d bytes, want %d", ErrDamaged, len(b), imagesStateSize)
	}
	return imagesState{
		log:     logState{file: le.Uint32(b[0:]), length: int64(le.Uint64(b[8:]))},
		horizon: wal.LSN(le.Uint64(b[16:])),
		swept:   wal.LSN(le.Uint64(b[24:])),
		made:    wal.LSN(le.Uint64(b[32:])),
	}, nil
}
