package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// sequenceLog is the operation of Sequence (commands/sequence.h).
const sequenceLog = 0x00

// descSequence is seq_desc (access/rmgrdesc/seqdesc.c).
func descSequence(dst []byte, r *wal.Record) []byte {
	if operation(r) != sequenceLog {
		return dst
	}
	c := mainData(r) // xl_seq_rec
	if rel := c.locator(); !c.short {
		dst = appendLocator(dst, "rel ", rel)
	}
	return c.end(dst)
}
