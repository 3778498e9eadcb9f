package pagestore

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// logFile is a file of a log.
type logFile struct {
	number uint32
	size   int64
}

// files lists the log's files before one, in order.
func (r *logReader) filesBefore(number uint32) (list []logFile, err error) {
	names, err := r.fs.List(r.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil || uint32(n) >= number {
			continue
		}
		info, err := r.fs.Stat(r.fs.PathJoin(r.dir, name))
		if err != nil {
			return nil, err
		}
		list = append(list, logFile{number: uint32(n), size: info.Size()})
	}
	slices.SortFunc(list, func(a, b logFile) int { return cmp.Compare(a.number, b.number) })
	return list, nil
}

// removeFiles removes files of a log that no reader can come to any more.
func (c *collection) removeFiles(r *logReader, list []logFile) error {
	for _, f := range list {
		r.discard(f.number)
		if err := r.fs.Remove(r.fs.PathJoin(r.dir, logName(f.number))); err != nil {
			return fmt.Errorf("remove a file of the log of %s: %w", r.fs.PathBase(r.dir), err)
		}
		c.done.Freed += f.size
	}
	return nil
}

// removeValues removes the files of the log of values that only hold records
// before the horizon. The file that holds the horizon stays, as a Rewind may
// need it.
func (c *collection) removeValues(ctx context.Context) error {
	list, err := c.s.reader.filesBefore(c.st.log.file)
	if err != nil {
		return err
	}
	n := 0
	for ; n < len(list); n++ {
		first, err := c.firstOf(list[n].number + 1)
		if err != nil {
			return err
		}
		if first >= c.horizon {
			break
		}
	}
	list = list[:n]
	if n == 0 {
		return nil
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	for _, f := range list {
		key := fileKey(f.number)
		if err := c.remove(key[:]); err != nil {
			return err
		}
	}
	// A file without key is removed by the next one who comes here.
	if err := c.flush(); err != nil {
		return err
	}
	c.done.ValueFiles += n
	return c.removeFiles(c.s.reader, list)
}

// firstOf is where the first record of a file of the log of values begins.
func (c *collection) firstOf(number uint32) (wal.LSN, error) {
	if number >= c.st.log.file {
		return c.st.log.first, nil
	}
	key := fileKey(number)
	b, closer, err := c.s.ix.db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil // it was to be removed too
	}
	if err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	first := ^wal.LSN(0)
	if len(b) == fileValueSize {
		first = wal.LSN(le.Uint64(b))
	}
	return first, closer.Close()
}

// rewriteImages moves what is live out of files of images of which most is not,
// and removes these and those in which nothing is.
func (c *collection) rewriteImages(ctx context.Context) error {
	m := &c.s.images
	list, err := m.reader.filesBefore(m.log.at.file)
	if err != nil {
		return err
	}
	var gone []logFile
	for _, f := range list {
		live := m.live[f.number]
		if live.bytes*2 >= f.size {
			continue
		}
		if live.bytes > 0 {
			if err := c.moveImages(ctx, f.number, live.length); err != nil {
				return err
			}
		}
		gone = append(gone, f)
	}
	if len(gone) == 0 {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	c.done.ImageFiles += len(gone)
	for _, f := range gone {
		delete(m.live, f.number)
		m.dirty[f.number] = true
	}
	if err := c.removeFiles(m.reader, gone); err != nil {
		return err
	}
	return c.flush()
}

// moveImages appends all images of a file again to which keys lead.
func (c *collection) moveImages(ctx context.Context, number uint32, length int64) error {
	m := &c.s.images
	f, err := m.reader.acquire(number)
	if err != nil {
		return err
	}
	defer m.reader.release(f)
	r := bufio.NewReaderSize(io.NewSectionReader(f.file, logHeaderSize, length-logHeaderSize), logBuffer)
	buf := make([]byte, imageBuffer)
	for at := int64(logHeaderSize); ; {
		if _, err := io.ReadFull(r, buf[:entryHeader]); err == io.EOF {
			return nil
		} else if err != nil {
			return entryError(at, err)
		}
		e := decodeEntry(buf)
		if e.kind != kindImage || e.length < imageHeader || int(e.length) > len(buf)-entryHeader {
			return fmt.Errorf("%w: %s has no image at byte %d", ErrDamaged, m.reader.fs.PathJoin(m.reader.dir, logName(number)), at)
		}
		entry := buf[:entryHeader+int(e.length)]
		if _, err := io.ReadFull(r, entry[entryHeader:]); err != nil {
			return entryError(at, err)
		}
		if err := c.moveImage(ctx, pointer{file: number, offset: uint32(at), length: e.length}, &e, entry); err != nil {
			return err
		}
		at += int64(len(entry))
	}
}

// moveImage appends an image again if a key leads to it.
func (c *collection) moveImage(ctx context.Context, at pointer, e *entry, b []byte) error {
	if err := c.step(ctx); err != nil {
		return err
	}
	id := imagePage(b[entryHeader:])
	key := pageKey(id, e.start)
	value, closer, err := c.s.ix.db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	rec, image, err := parsePage(value)
	if err = errors.Join(err, closer.Close()); err != nil {
		return err
	}
	if image.file != at.file || image.offset != at.offset || rec.flags&flagMade == 0 {
		return nil
	}
	if !e.checksumHolds(b) {
		return c.s.images.reader.damagedImage(at, id, e.start)
	}
	moved, err := c.s.images.appendPacked(e.start, b[entryHeader:])
	if err != nil {
		return err
	}
	c.s.images.count(moved, 1)
	c.s.images.count(image, -1)
	c.bytes += int(entrySize(moved))
	c.done.Moved++
	return c.setImage(id, e.start, rec, moved)
}
