package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// Operations of Standby (storage/standbydefs.h).
const (
	standbyLock          = 0x00
	standbyRunningXacts  = 0x10
	standbyInvalidations = 0x20
)

// runningXactsFormat is how a major shows the subtransactions of RUNNING_XACTS.
type runningXactsFormat struct {
	overflow string // that there were too many to list
	listed   bool   // they are listed
}

var runningXactsFormats = changes[runningXactsFormat]{
	{wal.PG14, runningXactsFormat{overflow: "; subxid ovf"}},
	{wal.PG16, runningXactsFormat{overflow: "; subxid overflowed", listed: true}},
}

// descStandby is standby_desc (access/rmgrdesc/standbydesc.c).
func descStandby(dst []byte, r *wal.Record) []byte {
	c := mainData(r)
	switch operation(r) {
	case standbyLock: // xl_standby_locks
		locks := c.array(int64(c.i32()), 12)
		for locks.left() > 0 {
			dst = appendUint(dst, "xid ", locks.u32())
			dst = appendUint(dst, " db ", locks.u32())
			dst = appendUint(dst, " rel ", locks.u32())
			dst = append(dst, ' ')
		}
	case standbyRunningXacts:
		return descRunningXacts(dst, c, runningXactsFormats.in(r.Version))
	case standbyInvalidations: // xl_invalidations
		db, spc := wal.OID(c.u32()), wal.OID(c.u32())
		initFile := c.bool()
		c.skip(3)
		msgs := c.array(int64(c.i32()), invalidationSize)
		dst = appendInvalidations(dst, r.Version, msgs, db, spc, initFile)
	}
	return c.end(dst)
}

// descRunningXacts describes an xl_running_xacts.
func descRunningXacts(dst []byte, c cursor, f runningXactsFormat) []byte {
	xcnt, subxcnt := c.i32(), c.i32()
	overflow := c.bool()
	c.skip(3)
	next, oldestRunning, latestCompleted := c.u32(), c.u32(), c.u32()
	if c.short {
		return c.end(dst)
	}
	xids := c.array(int64(xcnt), 4)
	subxids := c.array(int64(subxcnt), 4)

	dst = appendUint(dst, "nextXid ", next)
	dst = appendUint(dst, " latestCompletedXid ", latestCompleted)
	dst = appendUint(dst, " oldestRunningXid ", oldestRunning)
	if xcnt > 0 {
		dst = appendInt(dst, "; ", xcnt)
		dst = append(dst, " xacts:"...)
		dst = appendXIDs(dst, "", xids)
	}
	if overflow {
		dst = append(dst, f.overflow...)
	}
	if subxcnt > 0 && f.listed {
		dst = appendInt(dst, "; ", subxcnt)
		dst = append(dst, " subxacts:"...)
		dst = appendXIDs(dst, "", subxids)
	}
	return c.end(dst)
}
