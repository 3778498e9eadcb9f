package stream

import (
	"errors"
	"fmt"

	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// Fault is a reason that a stream cannot go on until a person has acted.
type Fault struct {
	Reason string // what happened, where, and what to do
	Gap    bool   // WAL that is needed is gone from the server
	cause  error
}

func (f *Fault) Error() string { return f.Reason }
func (f *Fault) Unwrap() error { return f.cause }

func faultf(format string, args ...any) *Fault {
	err := fmt.Errorf(format, args...)
	return &Fault{Reason: err.Error(), cause: errors.Unwrap(err)}
}

// corrupt says where the WAL breaks a rule of its format. The connection may be
// to blame, which checks less than the record's checksum does; so it is read
// again a few times before it is final.
func corrupt(err error) error {
	var w *wal.Error
	if errors.As(err, &w) {
		return &corruptError{w}
	}
	return err
}

type corruptError struct{ wal *wal.Error }

func (e *corruptError) Error() string {
	return fmt.Sprintf("the WAL from the server is corrupt at %s: %s", e.wal.LSN, e.wal.Reason)
}
func (e *corruptError) Unwrap() error { return e.wal }

// corruptTries is how often the same place is read before corruption is final.
const corruptTries = 3

// permanent reports whether trying again cannot help.
func permanent(err error) bool {
	var f *Fault
	var r *replication.Error
	return errors.As(err, &f) || errors.As(err, &r) && r.Permanent
}

// isGap reports whether the server has removed the WAL that was asked for.
func isGap(err error) bool {
	var r *replication.Error
	return errors.As(err, &r) && r.Gap
}
