package pagestore

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// The first byte of a key says what it leads to.
const (
	spaceState    = 's'
	spaceImages   = 'i'
	spaceFile     = 'f'
	spaceLSN      = 'l'
	spacePage     = 'p'
	spaceRelation = 'r'
	spaceRewind   = 'w'
	spaceLive     = 'g'
	spaceMark     = 'm'
	spaceSize     = 'z'
	spaceEndings  = 't'
	spaceSLRU     = 'x'
)

// Sizes in bytes.
const (
	lsnSize           = 8
	pagePrefixSize    = 1 + 4 + 4 + 4 + 1 + 4
	pageKeySize       = pagePrefixSize + lsnSize
	sizePrefixSize    = 1 + 4 + 4 + 4 + 1
	sizeKeySize       = sizePrefixSize + lsnSize
	relationKeySize   = 1 + 4 + 4 + 4 + lsnSize
	lsnKeySize        = 1 + lsnSize
	fileKeySize       = 1 + 4
	pointerSize       = 4 + 4 + 4 + 1 + 1
	madeValueSize     = 2 * pointerSize
	relationValueSize = pointerSize + 1 + 1 + 4 + 4
	lsnValueSize      = pointerSize + 1 + 1
	fileValueSize     = 8 + 8 + 8
	sizeValueSize     = 4
	endingsKeySize    = 1 + 8
	endingsValueSize  = 8 + 4 + 4
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// PageID names a page of a relation's fork.
type PageID struct {
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber
}

func (p PageID) String() string {
	if p.isSLRU() {
		return p.slruPage().String()
	}
	if p.isRelMap() {
		return fmt.Sprintf("the relation map of database %d in tablespace %d", p.Rel.DB, p.Block)
	}
	return fmt.Sprintf("block %d of relation %s, fork %s", p.Block, p.Rel, p.Fork)
}

// Bits of a pointer's flags.
const (
	flagWillInit  = 0x01 // redo initialises the page
	flagImage     = 0x02 // redo restores the page from an image
	flagFragments = 0x04 // the record is kept as fragments
	flagImplied   = 0x08 // the record does not reference the page
	flagMade      = 0x10 // an image of the page as it is after the record follows
	flagNoRecord  = 0x20 // there is no record behind the key
)

// pointer leads to a record in the log of values.
type pointer struct {
	file    uint32
	offset  uint32 // of the entry, bytes
	length  uint32 // of the record, bytes
	flags   uint8
	blockID uint8 // of the reference in the record
}

func (p *pointer) put(b []byte) {
	le.PutUint32(b, p.file)
	le.PutUint32(b[4:], p.offset)
	le.PutUint32(b[8:], p.length)
	b[12], b[13] = p.flags, p.blockID
}

// parsePointer reads the pointer at the start of a value.
func parsePointer(b []byte) (pointer, error) {
	if len(b) < pointerSize {
		return pointer{}, fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(b))
	}
	return pointer{file: le.Uint32(b), offset: le.Uint32(b[4:]), length: le.Uint32(b[8:]), flags: b[12], blockID: b[13]}, nil
}

// parsePage reads the value of a page's key: the record's pointer, and the
// image's where flagMade is set.
func parsePage(b []byte) (rec, image pointer, err error) {
	if rec, err = parsePointer(b); err != nil {
		return rec, image, err
	}
	want := pointerSize
	if rec.flags&flagMade != 0 {
		want = madeValueSize
	}
	if len(b) != want {
		return rec, image, fmt.Errorf("%w: a value of %d bytes in the index", ErrDamaged, len(b))
	}
	if want == madeValueSize {
		image, err = parsePointer(b[pointerSize:])
	}
	return rec, image, err
}

// putMade writes the value of a page's key whose image lies at image. rec has
// flagNoRecord where there is no record.
func putMade(b []byte, rec, image pointer) {
	rec.flags |= flagMade
	rec.put(b)
	image.put(b[pointerSize:])
}

// pageEntry is a page's key and value, in a form that sorts fast. ptr leads to
// the record, or to the image where its flags have flagNoRecord.
type pageEntry struct {
	space uint64 // tablespace and database
	rel   uint64 // relation and fork
	lsn   wal.LSN
	block wal.BlockNumber
	ptr   pointer
}

func makePageEntry(rel wal.RelFileLocator, fork wal.ForkNumber, block wal.BlockNumber, end wal.LSN, ptr pointer) pageEntry {
	return pageEntry{
		space: uint64(rel.Spc)<<32 | uint64(rel.DB),
		rel:   uint64(rel.Rel)<<8 | uint64(fork),
		block: block, lsn: end, ptr: ptr,
	}
}

// comparePages orders entries as their keys are ordered.
func comparePages(a, b pageEntry) int {
	switch {
	case a.space != b.space:
		return order(a.space < b.space)
	case a.rel != b.rel:
		return order(a.rel < b.rel)
	case a.block != b.block:
		return order(a.block < b.block)
	case a.lsn != b.lsn:
		return order(a.lsn < b.lsn)
	}
	return 0
}

func order(less bool) int {
	if less {
		return -1
	}
	return 1
}

// putValue writes the key's value, of madeValueSize bytes where ptr leads to an
// image, else of pointerSize.
func (e *pageEntry) putValue(v []byte) {
	if e.ptr.flags&flagMade == 0 {
		e.ptr.put(v)
		return
	}
	image := e.ptr
	image.flags = 0
	putMade(v, pointer{flags: e.ptr.flags}, image)
}

// id is the page.
func (e *pageEntry) id() PageID {
	return PageID{
		Rel:  wal.RelFileLocator{Spc: wal.OID(e.space >> 32), DB: wal.OID(e.space), Rel: wal.OID(e.rel >> 8)},
		Fork: wal.ForkNumber(e.rel), Block: e.block,
	}
}

func (e *pageEntry) putKey(k []byte) {
	k[0] = spacePage
	be.PutUint64(k[1:], e.space)
	be.PutUint32(k[9:], uint32(e.rel>>8))
	k[13] = byte(e.rel)
	be.PutUint32(k[14:], uint32(e.block))
	be.PutUint64(k[pagePrefixSize:], uint64(e.lsn))
}

// relationKey is a key of the relation space.
func relationKey(rel wal.RelFileLocator, end wal.LSN) (k [relationKeySize]byte) {
	k[0] = spaceRelation
	be.PutUint32(k[1:], uint32(rel.Spc))
	be.PutUint32(k[5:], uint32(rel.DB))
	be.PutUint32(k[9:], uint32(rel.Rel))
	be.PutUint64(k[13:], uint64(end))
	return k
}

func lsnKey(end wal.LSN) (k [lsnKeySize]byte) {
	k[0] = spaceLSN
	be.PutUint64(k[1:], uint64(end))
	return k
}

func fileKey(number uint32) (k [fileKeySize]byte) {
	k[0] = spaceFile
	be.PutUint32(k[1:], number)
	return k
}

// keyLSN is the LSN that ends every key of the page, relation, size and LSN spaces.
func keyLSN(k []byte) wal.LSN { return wal.LSN(be.Uint64(k[len(k)-lsnSize:])) }

// keyPage is the page of a key of the page space.
func keyPage(k []byte) PageID {
	return PageID{
		Rel:  wal.RelFileLocator{Spc: wal.OID(be.Uint32(k[1:])), DB: wal.OID(be.Uint32(k[5:])), Rel: wal.OID(be.Uint32(k[9:]))},
		Fork: wal.ForkNumber(k[13]), Block: wal.BlockNumber(be.Uint32(k[14:])),
	}
}

// pageKey is the key of a version of a page.
func pageKey(id PageID, end wal.LSN) (k [pageKeySize]byte) {
	e := makePageEntry(id.Rel, id.Fork, id.Block, end, pointer{})
	e.putKey(k[:])
	return k
}

// pageBounds encloses the keys of a page's versions above lsn low and up to lsn
// high.
func pageBounds(p PageID, low, high wal.LSN) (lower, upper [pageKeySize]byte) {
	e := makePageEntry(p.Rel, p.Fork, p.Block, after(low), pointer{})
	e.putKey(lower[:])
	e.lsn = after(high)
	e.putKey(upper[:])
	return lower, upper
}

// after is the LSN that follows, the greatest one for itself.
func after(l wal.LSN) wal.LSN {
	if l == math.MaxUint64 {
		return l
	}
	return l + 1
}
