package pagestore

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
)

// Limits of reading.
const (
	// maxOpenLogs is how many files of the log are kept open for reading.
	maxOpenLogs = 64
	// MaxReadRecord is the largest record, in bytes, that is read into memory. No
	// record that references a block comes near it.
	MaxReadRecord = 16 << 20
)

// logReader reads entries of the log. It is safe for concurrent use, and reads
// committed entries only.
type logReader struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	files map[uint32]*openFile
	idle  *list.List // of *openFile without user, the longest idle first
}

type openFile struct {
	number uint32
	file   vfs.File
	users  int
	gone   bool          // it was removed: its last user closes it
	place  *list.Element // in idle
}

func newLogReader(fs vfs.FS, dir string) *logReader {
	return &logReader{fs: fs, dir: dir, files: make(map[uint32]*openFile), idle: list.New()}
}

// record reads the record at p into rec, whose Data is then the caller's.
func (r *logReader) record(p pointer, end wal.LSN, rec *wal.Record) error {
	var buf []byte
	return r.recordInto(p, end, rec, &buf)
}

// recordInto reads the record at p into rec, whose Data lies in buf, which grows
// as needed.
func (r *logReader) recordInto(p pointer, end wal.LSN, rec *wal.Record, space *[]byte) error {
	if p.length > MaxReadRecord || p.flags&flagFragments != 0 {
		return fmt.Errorf("the record that ends at %s has %d bytes, and only up to %d are read at once", end, p.length, MaxReadRecord)
	}
	size := entryHeader + int(p.length)
	if cap(*space) < size {
		*space = make([]byte, size)
	}
	buf := (*space)[:size]
	if err := r.readAt(p, buf); err != nil {
		return err
	}
	e := decodeEntry(buf)
	if e.kind != kindRecord || e.length != p.length || e.end != end || !e.checksumHolds(buf) {
		return r.damaged(p, end)
	}
	*rec = wal.Record{StartLSN: e.start, EndLSN: e.end, Version: e.version, Data: buf[entryHeader:], Blocks: rec.Blocks[:0]}
	return rec.Decode(rec.Data)
}

func (r *logReader) damaged(p pointer, end wal.LSN) error {
	return fmt.Errorf("%w: %s at byte %d does not hold the record that ends at %s; make the cache anew from an empty directory",
		ErrDamaged, r.fs.PathJoin(r.dir, logName(p.file)), p.offset, end)
}

// readAt fills buf from the entry at p on.
func (r *logReader) readAt(p pointer, buf []byte) error {
	f, err := r.acquire(p.file)
	if err != nil {
		return fmt.Errorf("read the log of %s: %w", r.fs.PathBase(r.dir), err)
	}
	defer r.release(f)
	if _, err := f.file.ReadAt(buf, int64(p.offset)); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: it ends early", ErrDamaged)
		}
		return fmt.Errorf("read %s at byte %d: %w", r.fs.PathJoin(r.dir, logName(p.file)), p.offset, err)
	}
	return nil
}

func (r *logReader) acquire(number uint32) (*openFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[number]
	if f == nil {
		file, err := r.fs.Open(r.fs.PathJoin(r.dir, logName(number)))
		if err != nil {
			return nil, err
		}
		f = &openFile{number: number, file: file}
		r.files[number] = f
	}
	if f.place != nil {
		r.idle.Remove(f.place)
		f.place = nil
	}
	f.users++
	return f, nil
}

func (r *logReader) release(f *openFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	if f.gone {
		_ = f.file.Close() // it was only read
		return
	}
	f.place = r.idle.PushBack(f)
	for len(r.files) > maxOpenLogs && r.idle.Len() > 0 {
		r.drop(r.idle.Front())
	}
}

// drop closes an idle file. It was only read: closing it can lose nothing.
func (r *logReader) drop(e *list.Element) {
	f := r.idle.Remove(e).(*openFile)
	delete(r.files, f.number)
	_ = f.file.Close()
}

// discard closes a file that is to be removed, when nobody reads it any more.
func (r *logReader) discard(number uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[number]
	if f == nil {
		return
	}
	if f.place != nil {
		r.drop(f.place)
		return
	}
	f.gone = true
	delete(r.files, number)
}

// forget closes the files after the last one that counts; nobody reads any.
func (r *logReader) forget(last uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.idle.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*openFile).number > last {
			r.drop(e)
		}
		e = next
	}
}

// close closes all files; nobody reads any more.
func (r *logReader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.idle.Len() > 0 {
		r.drop(r.idle.Front())
	}
}
