package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/walplex/walplex/host/internal/golden/workload"
)

// Sample is one recording.
type Sample struct {
	Server  string          `json:"server"`  // what SELECT version() says
	WALDump string          `json:"waldump"` // what pg_waldump --version says
	Parts   []workload.Part `json:"parts"`
	Runs    []Run           `json:"runs"`

	dir string
}

// Run is one run of pg_waldump in the directory of the segments, with TZ=UTC.
type Run struct {
	Name   string   `json:"name"` // of the file in out/
	Args   []string `json:"args"`
	Status int      `json:"status"`
	Stderr string   `json:"stderr"`
}

const (
	manifestName = "sample.json"
	walDir       = "wal"
	outDir       = "out"
	suffix       = ".zst"
	// maxFileSize bounds what a file of a sample is decompressed to.
	maxFileSize = 64 << 20
)

// Open reads a sample's manifest.
func Open(dir string) (*Sample, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	s := &Sample{dir: dir}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err)
	}
	return s, nil
}

// Segment is the content of a segment file.
func (s *Sample) Segment(name string) ([]byte, error) { return s.read(walDir, name) }

// Output is what a run printed.
func (s *Sample) Output(run Run) ([]byte, error) { return s.read(outDir, run.Name) }

// Extract writes all segments into dir.
func (s *Sample) Extract(dir string) error {
	for _, part := range s.Parts {
		for _, name := range part.Names() {
			b, err := s.Segment(name)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Sample) read(sub, name string) ([]byte, error) {
	path := filepath.Join(s.dir, sub, name+suffix)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxFileSize))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	if b, err = dec.DecodeAll(b, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func (s *Sample) write(sub, name string, content []byte) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, sub, name+suffix)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, enc.EncodeAll(content, nil), 0o644)
}

// save writes the manifest.
func (s *Sample) save() error {
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, manifestName), append(b, '\n'), 0o644)
}

// CopyFirst copies the sample's first n segments, compressed as they are, into
// dir, which it empties.
func CopyFirst(sample, dir string, n int) error {
	s, err := Open(sample)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range s.Parts[0].Names()[:n] {
		b, err := os.ReadFile(filepath.Join(s.dir, walDir, name+suffix))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+suffix), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
