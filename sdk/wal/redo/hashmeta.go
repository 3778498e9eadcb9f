package redo

import (
	"fmt"
	"math"
	"math/bits"
)

// Of HashMetaPageData (access/hash.h), a hash index's block 0, the offsets in
// bytes and the sizes of its arrays.
const (
	hashMagic   = 0x6440640 // HASH_MAGIC
	hashVersion = 4         // HASH_VERSION

	hashmTuples        = 8 // a double
	hashmFillFactor    = 16
	hashmPageBytes     = 18 // hashm_bsize
	hashmBitmapBytes   = 20 // hashm_bmsize
	hashmBitmapShift   = 22 // hashm_bmshift
	hashmMaxBucket     = 24
	hashmHighMask      = 28
	hashmLowMask       = 32
	hashmOverflowPoint = 36 // hashm_ovflpoint
	hashmFirstFree     = 40
	hashmBitmaps       = 44 // hashm_nmaps
	hashmProc          = 48
	hashmSpares        = 52  // an array of hashMaxSplitPoints
	hashmMap           = 444 // hashm_mapp, an array of hashMaxBitmaps
	hashMetaSize       = 4544

	hashMaxSplitPoints = 98   // HASH_MAX_SPLITPOINTS
	hashMaxBitmaps     = 1024 // HASH_MAX_BITMAPS
	hashOnePhase       = 10   // HASH_SPLITPOINT_GROUPS_WITH_ONE_PHASE
	hashPhaseBits      = 2    // HASH_SPLITPOINT_PHASE_BITS
)

// float64 reads a double.
func (c *cursor) float64() float64 { return math.Float64frombits(c.u64()) }

// hashMeta is a metapage's HashMetaPageData, in place.
type hashMeta []byte

func (p *page) hashMeta() (hashMeta, error) {
	m := hashMeta(p.contents()[:hashMetaSize])
	if magic := m.u32(0); magic != hashMagic {
		return nil, fmt.Errorf("the page is no hash index's metapage: magic number %#x", magic)
	}
	return m, nil
}

func (m hashMeta) u32(at int) uint32       { return le.Uint32(m[at:]) }
func (m hashMeta) setU32(at int, v uint32) { le.PutUint32(m[at:], v) }
func (m hashMeta) setU16(at int, v uint16) { le.PutUint16(m[at:], v) }

func (m hashMeta) tuples() float64            { return math.Float64frombits(le.Uint64(m[hashmTuples:])) }
func (m hashMeta) setTuples(n float64)        { le.PutUint64(m[hashmTuples:], math.Float64bits(n)) }
func (m hashMeta) setMaxBucket(b uint32)      { m.setU32(hashmMaxBucket, b) }
func (m hashMeta) setFirstFree(bit uint32)    { m.setU32(hashmFirstFree, bit) }
func (m hashMeta) setOverflowPoint(sp uint32) { m.setU32(hashmOverflowPoint, sp) }

func (m hashMeta) setMasks(low, high uint32) {
	m.setU32(hashmLowMask, low)
	m.setU32(hashmHighMask, high)
}

// setSpares sets how many overflow pages there are before a split point.
func (m hashMeta) setSpares(point, pages uint32) error {
	if point >= hashMaxSplitPoints {
		return fmt.Errorf("there is no split point %d", point)
	}
	m.setU32(hashmSpares+4*int(point), pages)
	return nil
}

// addSpares counts new overflow pages at the current split point.
func (m hashMeta) addSpares(pages uint32) error {
	point := m.u32(hashmOverflowPoint)
	if point >= hashMaxSplitPoints {
		return fmt.Errorf("there is no split point %d", point)
	}
	return m.setSpares(point, m.u32(hashmSpares+4*int(point))+pages)
}

// addBitmap appends a bitmap page to the list of them.
func (m hashMeta) addBitmap(block uint32) error {
	n := m.u32(hashmBitmaps)
	if n >= hashMaxBitmaps {
		return fmt.Errorf("there are %d bitmap pages already", n)
	}
	m.setU32(hashmMap+4*int(n), block)
	m.setU32(hashmBitmaps, n+1)
	return nil
}

// hashInitMetaPage makes the metapage of a new index (_hash_init_metabuffer): main
// data is how many tuples are expected, the hash function's OID, and how many
// tuples a bucket should have.
func hashInitMetaPage(c *change) error {
	tuples, proc, fillFactor := c.main.float64(), c.main.u32(), c.main.u16()
	switch {
	case c.ref.ID != 0:
		return strangeBlock(c)
	case c.main.short:
		return errShort
	}
	buckets := hashBuckets(tuples, fillFactor)
	point := hashSpareIndex(buckets)

	c.page.hashInit(invalidBlock, invalidBucket, lhMetaPage)
	m := hashMeta(c.page.contents()[:hashMetaSize])
	m.setU32(0, hashMagic)
	m.setU32(4, hashVersion)
	m.setU16(hashmFillFactor, fillFactor)
	m.setU16(hashmPageBytes, maxBitmapBytes)
	shift := bits.Len32(maxBitmapBytes) - 1 // the largest power of two that fits
	m.setU16(hashmBitmapBytes, 1<<shift)
	m.setU16(hashmBitmapShift, uint16(shift+3))
	m.setU32(hashmProc, proc)
	m.setMaxBucket(buckets - 1)
	// The next power of two that is more than the buckets, less one.
	high := uint32(1)<<bits.Len32(buckets) - 1
	m.setMasks(high>>1, high)
	m.setOverflowPoint(point)
	c.page.setLower(headerSize + hashMetaSize)
	return m.setSpares(point, 1)
}

// hashBuckets is how many buckets an index begins with.
func hashBuckets(tuples float64, fillFactor uint16) uint32 {
	const most = 0x40000000
	switch wanted := tuples / float64(fillFactor); {
	case wanted >= most:
		return most
	case wanted > 2:
		return hashTotalBuckets(hashSpareIndex(uint32(wanted)))
	default: // NaN too
		return 2
	}
}

// hashSpareIndex is _hash_spareindex: the split point phase that bucket number
// buckets-1 belongs to. Split points double the buckets, in four phases each
// from the tenth on.
func hashSpareIndex(buckets uint32) uint32 {
	group := uint32(bits.Len32(buckets - 1)) // pg_ceil_log2_32
	if group < hashOnePhase {
		return group
	}
	phase := (buckets - 1) >> (group - hashPhaseBits - 1) & (1<<hashPhaseBits - 1)
	return hashOnePhase + (group-hashOnePhase)<<hashPhaseBits + phase
}

// hashTotalBuckets is _hash_get_totalbuckets: how many buckets there are at the
// end of a split point phase.
func hashTotalBuckets(phase uint32) uint32 {
	if phase < hashOnePhase {
		return 1 << phase
	}
	group := hashOnePhase + (phase-hashOnePhase)>>hashPhaseBits
	before := uint32(1) << (group - 1)
	return before + before>>hashPhaseBits*((phase-hashOnePhase)&(1<<hashPhaseBits-1)+1)
}

// hashInitBitmapPage makes the first bitmap page, block 0, which lies behind the
// first buckets, and enters it on the metapage, block 1.
func hashInitBitmapPage(c *change) error {
	size := int(c.main.u16())
	if c.main.short {
		return errShort
	}
	switch c.ref.ID {
	case 0:
		return c.page.hashInitBitmap(size)
	case 1:
		m, err := c.page.hashMeta()
		if err != nil {
			return err
		}
		return m.addBitmap(m.u32(hashmMaxBucket) + 2)
	}
	return strangeBlock(c)
}
