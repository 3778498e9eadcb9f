package stream

import "context"

// follower is a filter that has to be kept up to date while it is used: one that
// names relations. Start is called before the first record, may take its time,
// and goes on until Stop or the context's end.
type follower interface {
	Start(ctx context.Context)
	Stop()
}

// use takes the filter for the next block. It is the sender's: a filter that looks
// something up first holds up this sink alone.
func (l *life) use(f Filter) {
	was, _ := l.using.(follower)
	next, _ := f.(follower)
	l.using = f
	if was == next {
		return
	}
	if was != nil {
		was.Stop()
	}
	if next != nil {
		next.Start(l.stream.Context())
	}
}
