package pagestore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/sdk/wal"
)

// Limits of the log of values, in bytes.
const (
	// MaxLogFile is the length from which on a file of the log gets no further
	// record; it exceeds it by one record at most.
	MaxLogFile = 256 << 20
	// logBuffer is how much is collected before it is written.
	logBuffer = 1 << 20
)

// log appends records to the files of the log of values. It is for one
// goroutine. After an error its end is not known: it must be opened again.
type log struct {
	fs       vfs.FS
	dir      string
	systemID uint64
	maxFile  int64

	at       logState // the end; length counts what is written, and buf follows it
	file     vfs.File // at.file, nil before the first entry
	buf      []byte
	unsynced bool     // the file has bytes that no sync covered
	newName  bool     // the directory has names that no sync covered
	sealed   []sealed // files completed since the last commit
}

// sealed describes a complete file of the log.
type sealed struct {
	number      uint32
	first, last wal.LSN // start of its first record, end of its last
	length      int64   // bytes
}

// openLog continues the log where a committed state says that it ends.
func openLog(fs vfs.FS, dir string, systemID uint64, maxFile int64, at logState) (*log, error) {
	l := &log{fs: fs, dir: dir, systemID: systemID, maxFile: maxFile, at: at, buf: make([]byte, 0, logBuffer)}
	if at.file == 0 {
		return l, nil
	}
	name := fs.PathJoin(dir, logName(at.file))
	info, err := fs.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%w: a file of its log cannot be found: %w", ErrDamaged, err)
	}
	if info.Size() < at.length {
		return nil, fmt.Errorf("%w: %s has %d bytes, but %d were written and synced", ErrDamaged, name, info.Size(), at.length)
	}
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	header := make([]byte, logHeaderSize)
	if _, err = f.ReadAt(header, 0); err == nil {
		err = checkLogHeader(header, systemID, at.file)
	}
	if err != nil {
		_ = f.Close() // nothing was written to it
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	l.file = f
	return l, nil
}

// append adds an entry. A full file is completed before it, unless the entry
// continues a record: the fragments of a record stay together.
func (l *log) append(e *entry, data []byte, continues bool) (pointer, error) {
	if l.file != nil && !continues && l.end() >= l.maxFile {
		if err := l.seal(); err != nil {
			return pointer{}, err
		}
	}
	if l.file == nil {
		if err := l.create(e.start); err != nil {
			return pointer{}, err
		}
	}
	p := pointer{file: l.at.file, offset: uint32(l.end()), length: uint32(len(data))}
	if cap(l.buf)-len(l.buf) < entryHeader {
		if err := l.write(); err != nil {
			return pointer{}, err
		}
	}
	n := len(l.buf)
	l.buf = l.buf[:n+entryHeader]
	if err := e.encode(l.buf[n:], data); err != nil {
		return pointer{}, err
	}
	for {
		n := copy(l.buf[len(l.buf):cap(l.buf)], data)
		l.buf = l.buf[:len(l.buf)+n]
		if data = data[n:]; len(data) == 0 {
			break
		}
		if err := l.write(); err != nil {
			return pointer{}, err
		}
	}
	if e.end != 0 {
		l.at.last = e.end
	}
	return p, nil
}

// end is the offset of the next entry in the file.
func (l *log) end() int64 { return l.at.length + int64(len(l.buf)) }

// create begins the next file. What an earlier process left under its name was
// never committed, and goes.
func (l *log) create(first wal.LSN) error {
	number := l.at.file + 1
	name := l.fs.PathJoin(l.dir, logName(number))
	f, err := l.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// Only a file opened for reading and writing can be written at an offset.
	if err := f.Close(); err != nil {
		return err
	}
	if l.file, err = l.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified); err != nil {
		return err
	}
	header := encodeLogHeader(l.systemID, number)
	l.at = logState{file: number, first: first, last: first}
	l.buf = append(l.buf[:0], header[:]...)
	l.newName = true
	return nil
}

// write hands the collected bytes to the file system.
func (l *log) write() error {
	if len(l.buf) == 0 {
		return nil
	}
	l.unsynced = true
	if _, err := l.file.WriteAt(l.buf, l.at.length); err != nil {
		return fmt.Errorf("write the log of values: %w", err)
	}
	l.at.length += int64(len(l.buf))
	l.buf = l.buf[:0]
	return nil
}

// sync makes all that was appended durable.
func (l *log) sync() error {
	if err := l.write(); err != nil {
		return err
	}
	if l.unsynced {
		if err := l.file.SyncData(); err != nil {
			return fmt.Errorf("sync the log of values: %w", err)
		}
		l.unsynced = false
	}
	if l.newName {
		if err := syncDir(l.fs, l.dir); err != nil {
			return fmt.Errorf("sync the log of values: %w", err)
		}
		l.newName = false
	}
	return nil
}

// seal completes the file.
func (l *log) seal() error {
	if err := l.sync(); err != nil {
		return err
	}
	err := l.file.Close()
	l.file = nil
	l.sealed = append(l.sealed, sealed{number: l.at.file, first: l.at.first, last: l.at.last, length: l.at.length})
	return err
}

// close drops what was not synced.
func (l *log) close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
