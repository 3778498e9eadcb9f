package rmgrdesc

import "github.com/walplex/walplex/sdk/wal"

// changes is what differs between majors: each entry holds from its major on,
// up to the next entry's. They are in ascending order, the first is PG14's.
type changes[T any] []change[T]

type change[T any] struct {
	since wal.Version
	is    T
}

// in is what holds in the version; in one before PG14, what held in PG14.
func (c changes[T]) in(v wal.Version) T {
	i := len(c) - 1
	for i > 0 && v < c[i].since {
		i--
	}
	return c[i].is
}
