package redo

import "github.com/walplex/walplex/sdk/wal"

// ImpliedBlock is a page that a record changes without a block reference to it.
type ImpliedBlock struct {
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber

	heap wal.BlockNumber
	bits uint8
}

// Implied appends to dst the pages that rec changes without naming them.
func Implied(rec *wal.Record, dst []ImpliedBlock) []ImpliedBlock { return dst }

// ApplyImplied does to the page what rec does to it by implication.
func ApplyImplied(b []byte, rec *wal.Record, i ImpliedBlock) error {
	_, err := target(b, rec)
	return err
}
