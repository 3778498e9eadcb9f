package basebackup

import "sync/atomic"

// Progress is how far a backup is, for whoever shows it; any goroutine may ask.
type Progress struct{ done, total atomic.Int64 }

// Done answers the bytes of files received, and how many there will be, as the
// server estimates; 0 as long as it has not.
func (p *Progress) Done() (done, total int64) { return p.done.Load(), p.total.Load() }

func (p *Progress) add(n int) {
	if p != nil {
		p.done.Add(int64(n))
	}
}
