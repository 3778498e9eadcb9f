// Package retention decides which segments of an archive may be removed. It is
// pure: whoever calls it lists the directory, tells the time, and removes.
//
// Segments are looked at by their place in the WAL, and where timelines have the
// same one, by timeline. What may be removed is always a beginning of that order:
//
//	41/1  42/1  43/1  43/2  44/1.partial  44/2  45/2  46/2.partial
//	└── removed ──┘│
//	               the first segment that a rule, or somebody, wants kept
//
// So on no timeline is there ever a hole between segments that are kept, also
// where the removal ends in the middle. A segment is removed when every rule that
// is given allows it, and nobody needs it:
//
//	age      its files have not been changed for that long
//	size     all segments together, it included, take more
//	backup   it lies before the WAL that a base backup needs
//	needed   it ends at or before the place from which on others need WAL
//
// Without a rule nothing is removed. History files of timelines and backups are
// no segments, and stay.
//
// The WAL of a timeline that has been left goes with what lies beside it in that
// order: where a recovery to a point in time has begun a new timeline far back, the
// old one's WAL is kept until the new one has got past it.
package retention
