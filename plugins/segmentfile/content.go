package segmentfile

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// readSize is how much of a file is read at once, in bytes.
const readSize = 256 << 10

// content is a file of the archive, decompressed, from its start.
type content struct {
	name string // in the directory
	file durable.File
	from io.ReadCloser // decompresses file, nil where it is plain
}

// open opens the file for reading. A finished segment goes by its name without
// suffix, however it is stored. An error wraps fs.ErrNotExist where it is not
// there, and errDamaged where what is compressed cannot be read.
func (d *directory) open(name string) (*content, error) {
	if !wal.IsSegmentName(name) {
		return d.openFile(name)
	}
	var err error
	for _, n := range finishedNames(name) {
		var c *content
		if c, err = d.openFile(n); !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return nil, err
}

func (d *directory) openFile(name string) (*content, error) {
	f, err := d.fs.OpenFile(d.join(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, explain(err, "read the archive")
	}
	c := &content{name: name, file: f}
	z := codecOf(strings.TrimSuffix(trimPartial(name), tempSuffix))
	if z == nil {
		return c, nil
	}
	if c.from, err = z.reader(bufio.NewReaderSize(f, readSize)); err != nil {
		return nil, errors.Join(d.damaged(name, err), f.Close())
	}
	return c, nil
}

// errDamaged is a compressed file that is none.
var errDamaged = errors.New("it cannot be decompressed")

func (d *directory) damaged(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return explain(err, "read the archive") // the disk's fault, not the stream's
	}
	return sdk.Permanentf("%s is damaged: %w: %w: move it out of the directory, and put a good copy of the segment in its place if there is one", d.join(name), errDamaged, err)
}

// read fills p as far as the content goes; less than all of p is its end.
func (d *directory) read(c *content, p []byte) (int, error) {
	var from io.Reader = c.file
	if c.from != nil {
		from = c.from
	}
	n := 0
	for n < len(p) {
		got, err := from.Read(p[n:])
		n += got
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil && c.from == nil:
			return n, explain(err, "read the archive")
		case err != nil:
			return n, d.damaged(c.name, err)
		}
	}
	return n, nil
}

// skip passes over n bytes.
func (d *directory) skip(c *content, n int64) error {
	if n == 0 {
		return nil
	}
	if c.from == nil {
		_, err := c.file.Seek(n, io.SeekStart)
		return explain(err, "read the archive")
	}
	if _, err := io.CopyN(io.Discard, c.from, n); err != nil && err != io.EOF {
		return d.damaged(c.name, err)
	}
	return nil
}

// Close ends the reading.
func (c *content) Close() error {
	var err error
	if c.from != nil {
		err = c.from.Close()
	}
	return errors.Join(err, c.file.Close())
}

// errStop ends the reading of a file without being a fault.
var errStop = errors.New("stop")

// each calls fn with consecutive pieces of the first limit bytes of a file; a
// shorter file ends sooner.
func (d *directory) each(ctx context.Context, file string, limit int64, fn func(p []byte) error) error {
	c, err := d.open(file)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, min(readSize, limit))
	for off := int64(0); off < limit; {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := min(int64(len(buf)), limit-off)
		n, err := d.read(c, buf[:want])
		if err != nil {
			return err
		}
		if errFn := fn(buf[:n]); errFn != nil {
			return errFn
		}
		if off += int64(n); int64(n) < want {
			break
		}
	}
	return nil
}

// header reads the header of a segment's file. ok is false when the file does
// not begin with the header of that segment.
func (d *directory) header(e entry) (h header, ok bool, err error) {
	c, err := d.open(e.file)
	if errors.Is(err, errDamaged) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	defer c.Close()
	var b [longHeaderSize]byte
	n, err := d.read(c, b[:])
	if errors.Is(err, errDamaged) && n == len(b) {
		err = nil
	}
	if errors.Is(err, errDamaged) || err == nil && n < len(b) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	h = parseHeader(b[:])
	return h, h.begins(e.segment), nil
}

// length is the size of a file's content in bytes. Of a compressed one it reads
// all, as far as limit, and with it verifies its checksum.
func (d *directory) length(ctx context.Context, file string, limit int64) (int64, error) {
	if codecOf(file) == nil {
		st, err := d.fs.Stat(d.join(file))
		if err != nil {
			return 0, explain(err, "read the archive")
		}
		return st.Size(), nil
	}
	n := int64(0)
	err := d.each(ctx, file, limit, func(p []byte) error {
		n += int64(len(p))
		return nil
	})
	return n, err
}
