package redo

import "github.com/walplex/walplex/sdk/wal"

// sums is how many sums pd_checksum is made of, each over every 32nd word of four
// bytes (N_SUMS in storage/checksum_impl.h).
const sums = 32

// sumStarts are the sums' first values (checksumBaseOffsets).
var sumStarts = [sums]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// SetChecksum sets pd_checksum of a page, of [wal.BlockSize] bytes, that is to be
// that block of a file, as servers with data checksums do when they write one
// (PageSetChecksumInplace in storage/page/bufpage.c): a page that was never
// initialised has none.
func SetChecksum(b []byte, block wal.BlockNumber) {
	p := (*page)(b)
	if !p.isNew() {
		le.PutUint16(p[8:], 0)
		le.PutUint16(p[8:], p.checksum(block))
	}
}

// checksum is pg_checksum_page of a page whose pd_checksum is 0.
func (p *page) checksum(block wal.BlockNumber) uint16 {
	s := sumStarts
	for row := 0; row < pageSize; row += 4 * sums {
		words := (*[4 * sums]byte)(p[row:])
		for i := range s {
			s[i] = mixSum(s[i], le.Uint32(words[4*i:]))
		}
	}
	all := uint32(0)
	for _, v := range s {
		all ^= mixSum(mixSum(v, 0), 0)
	}
	return uint16((all^uint32(block))%65535 + 1)
}

// mixSum is CHECKSUM_COMP.
func mixSum(sum, word uint32) uint32 {
	const prime = 16777619 // FNV_PRIME
	t := sum ^ word
	return t*prime ^ t>>17
}
