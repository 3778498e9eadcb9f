package segmentfile

import (
	"errors"

	"github.com/walplex/walplex/sdk/durable"
)

// WAL that comes in large blocks, as when the stream catches up, is written past
// the page cache: the kernel's copy of it costs more CPU than all else that the
// sink does. The blocks lie in the ring with their pages at pages of memory, so
// the disk takes them from there. What does not fill a page at either end of a
// block, and small blocks, which transactions wait for, go through the cache.
//
//	block        ├──┬────────┬────────┬─────┤
//	pages     ┬──────┬───────┬────────┬────────┬
//	             cache  direct  direct  cache
//
// Nothing is durable before it is synced, either way.

// minDirect is the least that is written directly, in bytes.
const minDirect = 64 << 10

// Values of the setting direct.
const (
	directAuto = "auto"
	directOff  = "off"
)

// direct reports whether the configuration lets WAL be written directly: in files
// whose room is reserved, and that nobody reads again as soon as they are full.
// With O_DSYNC each write would be a sync, as it is without.
func (c *Config) direct() bool {
	z, _ := codecNamed(c.Compression)
	return c.Direct != directOff && c.Preallocate && z == nil && c.Sync != syncODSync
}

// writeAt writes p at an offset of the segment being received.
func (s *Sink) writeAt(p []byte, off int64) error {
	done, err := s.writeDirect(p, off)
	if err == nil && done < len(p) {
		_, err = s.cur.f.WriteAt(p[done:], off+int64(done))
	}
	return err
}

// writeDirect writes as much of the beginning of p as it can, the pages of it
// directly, and answers how much.
func (s *Sink) writeDirect(p []byte, off int64) (int, error) {
	head := int(-off & (durable.DirectAlign - 1))
	if !s.direct || len(p) < head+minDirect {
		return 0, nil
	}
	pages := p[head : len(p)-(len(p)-head)%durable.DirectAlign]
	w, ok := s.cur.f.(durable.DirectWriter)
	if !ok || !durable.Aligned(pages, off+int64(head)) {
		return 0, nil
	}
	if head > 0 {
		if n, err := s.cur.f.WriteAt(p[:head], off); err != nil {
			return n, err
		}
	}
	n, err := w.WriteDirectAt(pages, off+int64(head))
	if errors.Is(err, errors.ErrUnsupported) {
		s.log.Debug("the file system takes no direct writes: WAL goes through the page cache", "directory", s.dir.path, "reason", err)
		s.direct, err = false, nil
	}
	return head + n, err
}
