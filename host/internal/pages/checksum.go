package pages

import (
	"encoding/binary"

	"github.com/walplex/walplex/sdk/wal"
)

// The sums of a page's checksum (storage/checksum_impl.h): 32 of them, each over
// every 32nd word of 4 bytes, each beginning with a number of its own.
const (
	sums     = 32
	fnvPrime = 16777619
)

var sumSeeds = [sums]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// setChecksum sets pd_checksum of a page of that block, as PageSetChecksumCopy
// (bufpage.c) does: a page that was never initialised has none.
func setChecksum(p []byte, block uint32) {
	if le.Uint16(p[atUpper:]) == 0 {
		return
	}
	le.PutUint16(p[8:], 0)
	le.PutUint16(p[8:], pageChecksum(p, block))
}

// pageChecksum is pg_checksum_page of a page whose pd_checksum is 0.
func pageChecksum(p []byte, block uint32) uint16 {
	s := sumSeeds
	for row := 0; row < wal.BlockSize; row += 4 * sums {
		for i := range s {
			s[i] = mix(s[i], binary.LittleEndian.Uint32(p[row+4*i:]))
		}
	}
	var all uint32
	for i := range s {
		all ^= mix(mix(s[i], 0), 0)
	}
	return uint16((all^block)%65535) + 1
}

func mix(sum, word uint32) uint32 {
	t := sum ^ word
	return t*fnvPrime ^ t>>17
}
