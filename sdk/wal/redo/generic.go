package redo

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wal"
)

// genericRedo are the records of Generic (generic_redo in
// access/transam/generic_xlog.c), which do not look at xl_info.
func genericRedo(wal.Version) operations {
	var o operations
	for i := range o {
		o[i] = redoGeneric
	}
	return o
}

// redoGeneric writes pieces of the page over: of each piece an offset, a length
// and the bytes. What lies between pd_lower and pd_upper then is zero.
func redoGeneric(c *change) error {
	for c.data.left() > 0 {
		offset := int(c.data.u16())
		piece := c.data.bytes(int(c.data.u16()))
		if err := c.err(); err != nil {
			return err
		}
		if offset+len(piece) > pageSize {
			return fmt.Errorf("%d bytes at %d do not fit on the page", len(piece), offset)
		}
		copy(c.page[offset:], piece)
	}
	if err := c.page.check(); err != nil {
		return err
	}
	c.page.maskUnused()
	return nil
}
