package basebackup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// Manifest is a backup manifest (the manual's "Backup Manifest Format").
type Manifest struct {
	Version  int            `json:"PostgreSQL-Backup-Manifest-Version"` // 2 since PG17
	SystemID uint64         `json:"System-Identifier"`                  // since version 2, else 0
	Files    []ManifestFile `json:"Files"`
	WAL      []WALRange     `json:"WAL-Ranges"`
	Checksum string         `json:"Manifest-Checksum"`
}

// ManifestFile is a file of the manifest.
type ManifestFile struct {
	Path      string `json:"Path"`
	Encoded   string `json:"Encoded-Path"` // in hexadecimal, of a path that is not UTF-8
	Size      int64  `json:"Size"`         // bytes
	Algorithm string `json:"Checksum-Algorithm"`
	Checksum  string `json:"Checksum"` // in hexadecimal
}

// WALRange is WAL that the backup needs.
type WALRange struct {
	Timeline wal.TimelineID `json:"Timeline"`
	Start    wal.LSN        `json:"Start-LSN"`
	End      wal.LSN        `json:"End-LSN"`
}

// Algorithms of a manifest's checksums that are known here.
const (
	SHA256 = "SHA256"
	CRC32C = "CRC32C"
)

// checksum answers how to make an algorithm's checksum.
func checksum(algorithm string) (func() hash.Hash, error) {
	switch algorithm {
	case SHA256:
		return sha256.New, nil
	case CRC32C:
		table := crc32.MakeTable(crc32.Castagnoli)
		return func() hash.Hash { return crc32.New(table) }, nil
	}
	return nil, fmt.Errorf("%q is neither %s nor %s", algorithm, SHA256, CRC32C)
}

// parseManifest reads a manifest whose last line holds the checksum of all before
// it.
func parseManifest(data []byte) (m *Manifest, sum string, err error) {
	body := bytes.TrimSuffix(data, []byte("\n"))
	last := bytes.LastIndexByte(body, '\n') + 1
	own := sha256.Sum256(data[:last])
	sum = hex.EncodeToString(own[:])
	m = &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, "", fmt.Errorf("the manifest is damaged: %w", err)
	}
	if !strings.EqualFold(m.Checksum, sum) {
		return nil, "", fmt.Errorf("the manifest is damaged: its checksum is %s, its last line says %s", sum, m.Checksum)
	}
	if m.Version != 1 && m.Version != 2 {
		return nil, "", fmt.Errorf("the manifest is of version %d, and 1 and 2 are known here", m.Version)
	}
	return m, sum, nil
}

// check holds the files that came against the manifest.
func (m *Manifest) check(files map[string]received) error {
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		name, err := f.name()
		if err != nil {
			return err
		}
		got, ok := files[name]
		switch {
		case !ok:
			return mismatch("the manifest has the file %s, which did not come", name)
		case seen[name]:
			return mismatch("the manifest has the file %s twice", name)
		case got.size != f.Size:
			return mismatch("%s has %d bytes, and %d by the manifest", name, got.size, f.Size)
		}
		seen[name] = true
		if err := f.check(name, got.sum); err != nil {
			return err
		}
	}
	for name := range files {
		if !seen[name] {
			return mismatch("the file %s came, which the manifest does not have", name)
		}
	}
	return nil
}

func (f ManifestFile) name() (string, error) {
	if f.Encoded == "" {
		return f.Path, nil
	}
	b, err := hex.DecodeString(f.Encoded)
	if err != nil {
		return "", fmt.Errorf("the manifest is damaged: the path %q: %w", f.Encoded, err)
	}
	return string(b), nil
}

// check compares the checksum; it is in the algorithm that was asked for.
func (f ManifestFile) check(name, sum string) error {
	want, err := hex.DecodeString(f.Checksum)
	if err != nil {
		return fmt.Errorf("the manifest is damaged: the checksum of %s: %w", name, err)
	}
	got := []byte(sum)
	if bytes.Equal(got, want) {
		return nil
	}
	if f.Algorithm == CRC32C && len(want) == 4 && len(got) == 4 {
		// It is in the order of the server's CPU, that of Sum in big-endian's.
		if bytes.Equal(want, []byte{got[3], got[2], got[1], got[0]}) {
			return nil
		}
	}
	return mismatch("the %s checksum of %s is %x, and %x by the manifest", f.Algorithm, name, got, want)
}

// mismatch is the error of a backup that is not what its manifest says.
func mismatch(format string, args ...any) error {
	return errors.New("the backup is not what its manifest says: " + fmt.Sprintf(format, args...) +
		"; it is not kept: take another, and look at the server's disk and memory if it stays so")
}

// checkWAL holds the manifest against what the server has answered.
func (m *Manifest) checkWAL(start, end replication.BackupPosition, systemID uint64) error {
	if len(m.WAL) == 0 {
		return mismatch("the manifest names no WAL")
	}
	// The newest timeline comes first.
	first, last := m.WAL[len(m.WAL)-1], m.WAL[0]
	if first.Start != start.LSN || last.End != end.LSN || last.Timeline != end.Timeline {
		return mismatch("the server has answered WAL from %s to %s on timeline %d, the manifest says %s to %s on %d",
			start.LSN, end.LSN, end.Timeline, first.Start, last.End, last.Timeline)
	}
	if m.SystemID != 0 && systemID != 0 && m.SystemID != systemID {
		return mismatch("the server's system identifier is %d, and %d by the manifest", systemID, m.SystemID)
	}
	return nil
}
