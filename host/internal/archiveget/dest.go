package archiveget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// chunkSize is how much is copied between two looks at the context, bytes.
const chunkSize = 8 << 20

// destError is a fault of DEST: no other source can mend it.
type destError struct{ err error }

func (e *destError) Error() string {
	return fmt.Sprintf("write what restore_command asked for: %v; see to the disk and the rights of the server's data directory", e.err)
}

func (e *destError) Unwrap() error { return e.err }

func isDest(err error) bool {
	var d *destError
	return errors.As(err, &d)
}

// dest is DEST while it is written, under another name.
//
// It is not synced: until PostgreSQL has made the file its own, which it does with
// a sync, it asks for it again after a crash.
type dest struct {
	*os.File
	name string
}

func newDest(name string) (*dest, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".walplex-*")
	if err != nil {
		return nil, &destError{err}
	}
	return &dest{f, name}, nil
}

// commit gives the file its name.
func (d *dest) commit() error {
	err := d.Close()
	if err == nil {
		err = os.Rename(d.Name(), d.name)
	}
	if err != nil {
		return &destError{errors.Join(err, os.Remove(d.Name()))}
	}
	return nil
}

// abandon removes it.
func (d *dest) abandon(err error) error {
	return errors.Join(err, d.Close(), os.Remove(d.Name()))
}

// writeDest writes DEST with fill.
func writeDest(name string, fill func(*dest) error) error {
	d, err := newDest(name)
	if err != nil {
		return err
	}
	if err := fill(d); err != nil {
		return d.abandon(err)
	}
	return d.commit()
}

// copyN copies n bytes, or up to the end of r, and answers how many those were.
// Between two plain files the kernel copies.
func (d *dest) copyN(ctx context.Context, r io.Reader, n int64) (int64, error) {
	var done int64
	for done < n {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		part := &readErrors{r: r}
		var from io.Reader = part
		if f, ok := r.(*os.File); ok {
			from = f // hidden behind a wrapper, the kernel could not copy
		}
		m, err := d.File.ReadFrom(&io.LimitedReader{R: from, N: min(chunkSize, n-done)})
		done += m
		switch {
		case part.err != nil:
			return done, part.err
		case errors.Is(err, syscall.EIO): // reading is likelier to fail so
			return done, err
		case err != nil:
			return done, &destError{err}
		case m == 0:
			return done, nil
		}
	}
	return done, nil
}

// readErrors remembers what reading failed with, which a copy mixes with what
// writing failed with.
type readErrors struct {
	r   io.Reader
	err error
}

func (r *readErrors) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
