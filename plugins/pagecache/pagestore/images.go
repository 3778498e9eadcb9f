package pagestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// imageHeader is what precedes a page's bytes in an entry of the log of images;
// see the package documentation.
const imageHeader = 24

// images is the log of images with what is durable of it. Writing is for whoever
// holds mu: an import, or a Collect.
type images struct {
	mu     sync.Mutex
	log    *log
	state  imagesState // durable with the last batch
	reader *logReader
	buf    [imageHeader + wal.BlockSize]byte
	failed error // why nothing can be written any more, until the log is opened again

	live  map[uint32]liveImages
	dirty map[uint32]bool // files of which that changed since the last batch
	swept atomic.Uint64   // state.swept, for readers
}

// liveImages is what is live in a file.
type liveImages struct {
	bytes  int64 // of entries to which keys lead
	length int64 // of the file, 0 while it is not complete: what lies behind is not there
}

// entrySize is what an image takes in its file, in bytes.
func entrySize(p pointer) int64 { return entryHeader + int64(p.length) }

// count adds an image to what is live in its file, or takes it away.
func (m *images) count(p pointer, sign int64) {
	f := m.live[p.file]
	f.bytes += sign * entrySize(p)
	m.live[p.file] = f
	m.dirty[p.file] = true
}

// add appends the image of a page as it is after the record that ends at lsn, to
// which a key will lead.
func (m *images) add(id PageID, lsn wal.LSN, page []byte) (pointer, error) {
	p, err := m.append(id, lsn, page)
	if err == nil {
		m.count(p, 1)
	}
	return p, err
}

// putLive puts into the batch what changed of what is live.
func (m *images) putLive(b *pebble.Batch) error {
	for n := range m.dirty {
		key := fileKey(n)
		key[0] = spaceLive
		var err error
		if f := m.live[n]; f.bytes > 0 {
			value := le.AppendUint64(le.AppendUint64(nil, uint64(f.bytes)), uint64(f.length))
			err = b.Set(key[:], value, nil)
		} else {
			delete(m.live, n)
			err = b.Delete(key[:], nil)
		}
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
	}
	clear(m.dirty)
	return nil
}

// readLive reads what is live in each file.
func (s *Store) readLive() error {
	m := &s.images
	m.live, m.dirty = make(map[uint32]liveImages), make(map[uint32]bool)
	return s.eachLive(func(file uint32, f liveImages) { m.live[file] = f })
}

// eachLive calls f with what is live in each file, as it is durable.
func (s *Store) eachLive(f func(file uint32, live liveImages)) error {
	it, err := s.ix.db.NewIter(spaceBounds(spaceLive))
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if v := it.Value(); len(it.Key()) == fileKeySize && len(v) == 16 {
			f(be.Uint32(it.Key()[1:]), liveImages{bytes: int64(le.Uint64(v)), length: int64(le.Uint64(v[8:]))})
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// hole is the part of a page between pd_lower and pd_upper, if the page has such
// a header and there is nothing there (storage/bufpage.h). Redo leaves zeros
// there; a page of a data directory can have what was there before.
func hole(page []byte) (offset, length int) {
	lower, upper := int(le.Uint16(page[12:])), int(le.Uint16(page[14:]))
	if lower < 24 || lower >= upper || upper > wal.BlockSize || !allZero(page[lower:upper]) {
		return 0, 0
	}
	return lower, upper - lower
}

// allZero reports that b has no other byte than zero.
func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// packImage writes a page's entry into b, of imageHeader and a page's bytes, and
// answers how many it has.
func packImage(b []byte, id PageID, page []byte) int {
	offset, length := 0, 0
	if id.Rel.Spc != 0 {
		offset, length = hole(page)
	} else if allZero(page) {
		length = wal.BlockSize
	}
	le.PutUint32(b[0:], uint32(id.Rel.Spc))
	le.PutUint32(b[4:], uint32(id.Rel.DB))
	le.PutUint32(b[8:], uint32(id.Rel.Rel))
	le.PutUint32(b[12:], uint32(id.Block))
	le.PutUint16(b[16:], uint16(offset))
	le.PutUint16(b[18:], uint16(length))
	b[20], b[21], b[22], b[23] = byte(id.Fork), 0, 0, 0
	n := imageHeader + copy(b[imageHeader:], page[:offset])
	return n + copy(b[n:], page[offset+length:])
}

// imagePage is whose image an entry's bytes are.
func imagePage(b []byte) PageID {
	return PageID{
		Rel:  wal.RelFileLocator{Spc: wal.OID(le.Uint32(b)), DB: wal.OID(le.Uint32(b[4:])), Rel: wal.OID(le.Uint32(b[8:]))},
		Fork: wal.ForkNumber(b[20]), Block: wal.BlockNumber(le.Uint32(b[12:])),
	}
}

// unpackImage makes page what packImage was given, unless b is no image of it.
func unpackImage(page []byte, id PageID, b []byte) bool {
	if len(b) < imageHeader || imagePage(b) != id {
		return false
	}
	offset, length := int(le.Uint16(b[16:])), int(le.Uint16(b[18:]))
	if offset+length > wal.BlockSize || len(b) != imageHeader+wal.BlockSize-length {
		return false
	}
	b = b[imageHeader:]
	copy(page, b[:offset])
	clear(page[offset : offset+length])
	copy(page[offset+length:], b[offset:])
	return true
}

// append adds the image of a page as it is after the record that ends at lsn.
func (m *images) append(id PageID, lsn wal.LSN, page []byte) (pointer, error) {
	n := packImage(m.buf[:], id, page)
	return m.appendPacked(lsn, m.buf[:n])
}

func (m *images) appendPacked(lsn wal.LSN, packed []byte) (pointer, error) {
	if m.failed != nil {
		return pointer{}, m.failed
	}
	e := entry{start: lsn, kind: kindImage}
	p, err := m.log.append(&e, packed, false)
	if err != nil {
		m.failed = err
	}
	return p, err
}

// sync makes the images durable that were appended, and puts that into the
// batch, which is to be committed with the keys that lead to them.
func (m *images) sync(b *pebble.Batch) error {
	if m.failed != nil {
		return m.failed
	}
	if err := m.log.sync(); err != nil {
		m.failed = err
		return err
	}
	for _, f := range m.log.sealed {
		live := m.live[f.number]
		live.length = f.length
		m.live[f.number] = live
		m.dirty[f.number] = true
	}
	m.log.sealed = m.log.sealed[:0]
	m.state.log = m.log.at
	return m.putState(b)
}

// putState puts what is durable with the batch into it.
func (m *images) putState(b *pebble.Batch) error {
	state := m.state.encode()
	if err := b.Set([]byte{spaceImages}, state[:], nil); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return m.putLive(b)
}

// image reads the page's image at p, which was made as of lsn. buf is of
// [imageBuffer] bytes.
func (r *logReader) image(p pointer, id PageID, lsn wal.LSN, page, buf []byte) error {
	if p.length < imageHeader || p.length > imageHeader+wal.BlockSize {
		return r.damagedImage(p, id, lsn)
	}
	buf = buf[:entryHeader+int(p.length)]
	if err := r.readAt(p, buf); err != nil {
		return err
	}
	e := decodeEntry(buf)
	if e.kind != kindImage || e.length != p.length || e.start != lsn || !e.checksumHolds(buf) || !unpackImage(page, id, buf[entryHeader:]) {
		return r.damagedImage(p, id, lsn)
	}
	return nil
}

// imageBuffer is the size of the largest entry of an image, in bytes.
const imageBuffer = entryHeader + imageHeader + wal.BlockSize

func (r *logReader) damagedImage(p pointer, id PageID, lsn wal.LSN) error {
	return fmt.Errorf("%w: %s at byte %d does not hold the image of %s as of %s; make the cache anew from an empty directory",
		ErrDamaged, r.fs.PathJoin(r.dir, logName(p.file)), p.offset, id, lsn)
}

// readImagesState reads what is durable of the images.
func (s *Store) readImagesState() (imagesState, error) {
	b, closer, err := s.ix.db.Get([]byte{spaceImages})
	if errors.Is(err, pebble.ErrNotFound) {
		return imagesState{}, nil
	}
	if err != nil {
		return imagesState{}, fmt.Errorf("index: %w", err)
	}
	st, err := decodeImagesState(b)
	return st, errors.Join(err, closer.Close())
}

// recoverImages reads what is durable of the images and removes what lies beyond
// it.
func (s *Store) recoverImages(ctx context.Context, maxFile int64) error {
	if s.state.SystemID == 0 {
		if err := s.discardImport(ctx); err != nil {
			return err
		}
	}
	m := &s.images
	var err error
	if m.state, err = s.readImagesState(); err != nil {
		return err
	}
	if err := removeLogs(s.fs, m.reader.dir, m.state.log.file); err != nil {
		return err
	}
	m.swept.Store(uint64(m.state.swept))
	s.visible.collect(m.state.horizon)
	if err := errors.Join(s.readLive(), s.readLastMark()); err != nil {
		return err
	}
	m.log, err = openLog(s.fs, m.reader.dir, s.state.SystemID, maxFile, m.state.log)
	return err
}
