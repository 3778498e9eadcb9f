package basebackup

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// summaryVersion is the version of the form of DIR.backup.json.
const summaryVersion = 1

// Summary says what a backup is; DIR.backup.json holds it.
type Summary struct {
	Version           int              `json:"version"`
	Label             string           `json:"label"`
	Directory         string           `json:"directory"`
	Format            string           `json:"format"`      // plain or tar
	Compression       string           `json:"compression"` // of tar archives
	StartLSN          wal.LSN          `json:"start_lsn"`   // the WAL from here on is needed
	StopLSN           wal.LSN          `json:"stop_lsn"`    // up to here at least
	StartTimeline     wal.TimelineID   `json:"start_timeline"`
	Timeline          wal.TimelineID   `json:"timeline"` // of StopLSN
	FirstSegment      string           `json:"first_segment"`
	LastSegment       string           `json:"last_segment"`
	HistoryFile       string           `json:"backup_history_file"`
	SystemID          uint64           `json:"system_identifier,string"`
	ServerVersion     int              `json:"server_version"` // server_version_num
	SegmentSize       wal.SegmentSize  `json:"wal_segment_size"`
	Standby           bool             `json:"from_standby"`
	Files             int              `json:"files"`
	Bytes             int64            `json:"bytes"` // of all files, not compressed
	Started           time.Time        `json:"started"`
	Finished          time.Time        `json:"finished"`
	Seconds           float64          `json:"duration_seconds"`
	ChecksumAlgorithm string           `json:"checksum_algorithm"` // of the manifest's files
	ManifestChecksum  string           `json:"manifest_checksum"`  // SHA-256
	Tablespaces       []TablespaceDest `json:"tablespaces"`
}

// TablespaceDest is where a tablespace went.
type TablespaceDest struct {
	OID       uint32 `json:"oid"`
	Location  string `json:"location"`  // on the server
	Directory string `json:"directory"` // here; of a tar backup empty
}

// JSON is the content of DIR.backup.json.
func (s *Summary) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// WriteText writes the summary for people.
func (s *Summary) WriteText(w io.Writer) error {
	form := s.Format
	if s.Compression != "none" {
		form += ", " + s.Compression
	}
	_, err := fmt.Fprintf(w, "backup     %s (%s)\nlabel      %s\nneeds WAL  from %s to %s on timeline %d: %s to %s\nverified   %d files, %d bytes, against the manifest %s\n",
		s.Directory, form, s.Label, s.StartLSN, s.StopLSN, s.Timeline, s.FirstSegment, s.LastSegment, s.Files, s.Bytes, s.ManifestChecksum)
	return err
}
