package redo

import "github.com/walplex/walplex/sdk/wal"

// Of the page of a sequence (commands/sequence.c).
const (
	sequenceMagic       = 0x1717
	sequenceSpecialSize = 4
)

// sequenceRedo is the record of Sequence (seq_redo). Main data: the relation,
// and the tuple, which becomes the only one.
func sequenceRedo(wal.Version) operations {
	return operations{0x0: func(c *change) error {
		c.main.skip(12)
		t := c.main.rest()
		if err := c.err(); err != nil {
			return err
		}
		c.page.init(sequenceSpecialSize)
		le.PutUint32(c.page[c.page.special():], sequenceMagic)
		_, err := c.page.addItem(t, 1, 0)
		return err
	}}
}
