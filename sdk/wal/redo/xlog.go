package redo

import (
	"errors"

	"github.com/walplex/walplex/sdk/wal"
)

// xlogRedo are the records of XLOG that carry pages (xlog_redo in
// access/transam/xlog.c), whose images are applied before it comes to this.
func xlogRedo(wal.Version) operations {
	return operations{
		0xA: func(c *change) error { // FPI_FOR_HINT, which may come without
			c.untouched = true
			return nil
		},
		0xB: func(*change) error { return errors.New("unexpected XLOG_FPI record without an image") },
	}
}
