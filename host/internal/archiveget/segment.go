package archiveget

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
)

// maxSmall bounds history files, bytes: a timeline is a line of some 60.
const maxSmall = 1 << 20

// giveSmall gives a history file, which must be one, or a backup history file.
func (s *search) giveSmall(ctx context.Context, c *archive.Content) error {
	b, err := readSmall(c)
	if err != nil {
		return err
	}
	if s.kind == archive.History {
		if err := checkHistory(s.tli, b); err != nil {
			return err
		}
	}
	return writeDest(s.o.Dest, func(d *dest) error {
		_, err := d.copyN(ctx, bytes.NewReader(b), int64(len(b)))
		return err
	})
}

func readSmall(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("it has more than %d bytes", maxSmall)
	}
	return b, err
}

// checkHistory refuses what PostgreSQL would take for a timeline without
// ancestors: what a full disk leaves behind.
func checkHistory(tli wal.TimelineID, b []byte) error {
	h, err := wal.ParseHistory(tli, b)
	if err == nil && len(h) == 1 && tli > 1 {
		err = errors.New("it names no timeline that it began from")
	}
	return err
}

// giveSegment gives a finished segment of size bytes in its file.
func (s *search) giveSegment(ctx context.Context, c *archive.Content, size int64) error {
	var b [archive.HeaderSize]byte
	if n, err := io.ReadFull(c, b[:]); err != nil {
		return fmt.Errorf("it ends after %d bytes: %w", n, noEOF(err))
	}
	h := archive.ParseHeader(b[:])
	if err := h.CheckName(s.o.File); err != nil {
		return err
	}
	want := int64(h.SegmentSize)
	if c.Plain() && size != want {
		return sizeError(size, want)
	}
	return writeDest(s.o.Dest, func(d *dest) error {
		if c.Plain() {
			return d.copyPlain(ctx, c, want)
		}
		got, err := d.copyN(ctx, io.MultiReader(bytes.NewReader(b[:]), c), want+1)
		if err == nil && got != want {
			err = sizeError(got, want)
		}
		return err
	})
}

// copyPlain copies a plain file of size bytes, sharing its blocks where the file
// system can.
func (d *dest) copyPlain(ctx context.Context, c *archive.Content, size int64) error {
	if cloneFile(d.File, c.File()) {
		return nil
	}
	if _, err := c.File().Seek(0, io.SeekStart); err != nil {
		return err
	}
	got, err := d.copyN(ctx, c.File(), size)
	if err == nil && got != size {
		err = sizeError(got, size)
	}
	return err
}

func sizeError(got, want int64) error {
	if got > want {
		return fmt.Errorf("it has more than the %d bytes that its header says", want)
	}
	return fmt.Errorf("it has %d bytes, its header says %d", got, want)
}

// noEOF names an end that came too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
