package wal

import "fmt"

// Error is WAL that breaks a rule of its format: the place and the reason, in
// the wording of PostgreSQL's xlogreader.c.
type Error struct {
	LSN    LSN    // of the page or record that is wrong
	Reason string // e.g. "incorrect resource manager data checksum in record at 0/1000028"
}

func (e *Error) Error() string { return e.Reason }

// Errorf makes an [*Error] at lsn.
func Errorf(lsn LSN, format string, args ...any) *Error {
	return &Error{LSN: lsn, Reason: fmt.Sprintf(format, args...)}
}
