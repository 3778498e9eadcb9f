package waldump

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/walplex/walplex/sdk/wal"
)

// imageSaver writes the page images of records to files of their own
// (--save-fullpage).
type imageSaver struct {
	dir      string
	restorer wal.Images
	page     [wal.BlockSize]byte
}

// makeImageDirectory makes the directory, which may exist if it is empty.
func makeImageDirectory(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fatalf("could not create directory \"%s\": %s", dir, strerror(err))
		}
		return nil
	}
	if err != nil {
		return fatalf("could not access directory \"%s\": %s", dir, strerror(err))
	}
	defer f.Close()
	switch _, err := f.Readdirnames(1); {
	case err == nil:
		return fatalf("directory \"%s\" exists but is not empty", dir)
	case !errors.Is(err, io.EOF):
		return fatalf("could not access directory \"%s\": %s", dir, strerror(err))
	}
	return nil
}

// save writes the images of a record. An error is a *fatal.
func (s *imageSaver) save(r *wal.Record, tli wal.TimelineID) error {
	for i := range r.Blocks {
		b := &r.Blocks[i]
		if !b.HasImage() {
			continue
		}
		if err := s.restorer.Restore(s.page[:], r, b); err != nil {
			return fatalf("%s", err)
		}
		if b.Fork > wal.InitFork {
			return fatalf("invalid fork number: %d", b.Fork)
		}
		name := fmt.Sprintf("%s/%08X-%08X-%08X.%d.%d.%d.%d_%s", s.dir, uint32(tli), uint32(r.StartLSN>>32), uint32(r.StartLSN),
			b.Rel.Spc, b.Rel.DB, b.Rel.Rel, b.Block, b.Fork)
		if err := os.WriteFile(name, s.page[:], 0o666); err != nil {
			return fatalf("could not write file \"%s\": %s", name, strerror(err))
		}
	}
	return nil
}
