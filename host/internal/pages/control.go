package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

var le = binary.LittleEndian

// State is DBState (catalog/pg_control.h).
type State uint32

// shutDown is DB_SHUTDOWNED: a primary's clean end.
const shutDown State = 1

var stateNames = [...]string{"starting up", "shut down", "shut down in recovery", "shutting down", "in crash recovery", "in archive recovery", "in production"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("in the unknown state %d", uint32(s))
}

// Control is what is read of a data directory's pg_control, ControlFileData in
// catalog/pg_control.h of PG14 to PG18. Ids are of the checkpoint.
type Control struct {
	Major          int // from PG_VERSION
	SystemID       uint64
	CatalogVersion uint32
	State          State
	CheckPoint     wal.LSN // start of the last checkpoint's record
	Redo           wal.LSN // where its redo begins
	Timeline       wal.TimelineID
	NextXID        uint32
	OldestXID      uint32
	NextMulti      uint32
	NextMember     uint32 // nextMultiOffset
	OldestMulti    uint32
	OldestCommitTs uint32 // xid; 0 when commit times are not kept
	NewestCommitTs uint32
	SegmentBlocks  uint32 // relseg_size
	BlockSize      uint32
	SegmentSize    wal.SegmentSize // of WAL
	Checksums      bool
}

// Where the fields lie, in bytes: the same in all majors, but for the checksum.
const (
	atSystemID       = 0
	atVersion        = 8
	atCatalog        = 12
	atState          = 16
	atCheckPoint     = 32
	atRedo           = 40
	atTimeline       = 48
	atNextXID        = 64
	atNextMulti      = 76
	atNextMember     = 80
	atOldestXID      = 84
	atOldestMulti    = 92
	atOldestCommitTs = 112
	atNewestCommitTs = 116
	atBlockSize      = 216
	atSegmentBlocks  = 220
	atSegmentSize    = 228
	atChecksums      = 252
	controlRead      = 296 // bytes that are looked at
)

// controlCRC is where the checksum lies, over all before it, by PG_CONTROL_VERSION.
var controlCRC = map[uint32]int{
	1300: 288, // PG13 to PG16
	1700: 288,
	1800: 292, // default_char_signedness came
}

// ReadControl reads pg_control and PG_VERSION.
func ReadControl(dataDir string) (*Control, error) {
	name := filepath.Join(dataDir, "global", "pg_control")
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is no data directory", err, dataDir)
	}
	if err != nil {
		return nil, err
	}
	if len(b) < controlRead {
		return nil, fmt.Errorf("%s has %d bytes, and has %d at least on every server", name, len(b), controlRead)
	}
	version := le.Uint32(b[atVersion:])
	at, known := controlCRC[version]
	if !known {
		return nil, fmt.Errorf("%s has version %d; those of PostgreSQL 14 to 18 are 1300, 1700 and 1800", name, version)
	}
	if got, want := crc32.Checksum(b[:at], crc32.MakeTable(crc32.Castagnoli)), le.Uint32(b[at:]); got != want {
		return nil, fmt.Errorf("%s is damaged: its checksum is %08X, that of its content %08X", name, want, got)
	}
	c := decodeControl(b)
	text, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err != nil {
		return nil, err
	}
	if c.Major, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return nil, fmt.Errorf("PG_VERSION of %s: %w", dataDir, err)
	}
	if c.BlockSize != wal.BlockSize {
		return nil, fmt.Errorf("the server's pages have %d bytes; only %d are supported", c.BlockSize, wal.BlockSize)
	}
	return c, nil
}

func decodeControl(b []byte) *Control {
	u32 := func(at int) uint32 { return le.Uint32(b[at:]) }
	return &Control{
		SystemID: le.Uint64(b[atSystemID:]), CatalogVersion: u32(atCatalog), State: State(u32(atState)),
		CheckPoint: wal.LSN(le.Uint64(b[atCheckPoint:])), Redo: wal.LSN(le.Uint64(b[atRedo:])), Timeline: wal.TimelineID(u32(atTimeline)),
		NextXID: u32(atNextXID), OldestXID: u32(atOldestXID),
		NextMulti: u32(atNextMulti), NextMember: u32(atNextMember), OldestMulti: u32(atOldestMulti),
		OldestCommitTs: u32(atOldestCommitTs), NewestCommitTs: u32(atNewestCommitTs),
		SegmentBlocks: u32(atSegmentBlocks), BlockSize: u32(atBlockSize),
		SegmentSize: wal.SegmentSize(u32(atSegmentSize)), Checksums: u32(atChecksums) != 0,
	}
}
