package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the WAL, PostgreSQL's XLogRecPtr
// (access/xlogdefs.h). Zero is InvalidXLogRecPtr.
type LSN uint64

// TimelineID counts the histories of a cluster, from 1 (access/xlogdefs.h).
// Zero is no timeline.
type TimelineID uint32

// String formats the LSN as PostgreSQL does: two hexadecimal numbers and a slash.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// ParseLSN reads PostgreSQL's pg_lsn text form, such as 16/B374D848.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok || len(hi) == 0 || len(hi) > 8 || len(lo) == 0 || len(lo) > 8 {
		return 0, fmt.Errorf("%q is not an LSN: write two hexadecimal numbers and a slash, such as 16/B374D848", s)
	}
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is not an LSN: write two hexadecimal numbers and a slash, such as 16/B374D848", s)
	}
	return LSN(h<<32 | l), nil
}

// MarshalText writes the LSN in PostgreSQL's text form.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads PostgreSQL's text form.
func (l *LSN) UnmarshalText(b []byte) error {
	v, err := ParseLSN(string(b))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// MaxAlign is the alignment of every record, in bytes (MAXIMUM_ALIGNOF on
// every platform whose WAL this package reads).
const MaxAlign = 8

// AlignUp moves the LSN up to the next multiple of [MaxAlign].
func (l LSN) AlignUp() LSN { return (l + MaxAlign - 1) &^ (MaxAlign - 1) }

// Position is a place in one of the cluster's histories.
type Position struct {
	Timeline TimelineID
	LSN      LSN
}

func (p Position) String() string { return fmt.Sprintf("%s on timeline %d", p.LSN, p.Timeline) }
