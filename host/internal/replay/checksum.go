package replay

import "github.com/walplex/walplex/sdk/wal"

// sums is how many sums pd_checksum is made of (N_SUMS in
// storage/checksum_impl.h).
const sums = 32

// sumStarts are the sums' first values (checksumBaseOffsets).
var sumStarts = [sums]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// setChecksum sets pd_checksum of a page that is not new, as pg_checksum_page
// computes it (storage/checksum_impl.h).
func setChecksum(page []byte, block wal.BlockNumber) {
	if isNew(page) {
		return
	}
	page[8], page[9] = 0, 0
	s := sumStarts
	for row := 0; row < wal.BlockSize; row += 4 * sums {
		b := (*[4 * sums]byte)(page[row:])
		for i := range s {
			s[i] = mix(s[i], le.Uint32(b[4*i:]))
		}
	}
	sum := uint32(0)
	for _, v := range s {
		sum ^= mix(mix(v, 0), 0)
	}
	le.PutUint16(page[8:], uint16((sum^uint32(block))%65535+1))
}

// mix is CHECKSUM_COMP.
func mix(sum, value uint32) uint32 {
	const prime = 16777619 // FNV_PRIME
	t := sum ^ value
	return t*prime ^ t>>17
}
