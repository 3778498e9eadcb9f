package basebackup

import (
	"os"
	"sync"
)

// How many files are synced at once, and how many wait for it, open: one fsync
// after the other would wait for the disk once a file, several share its commits.
const (
	syncers   = 8
	syncQueue = 64
)

// syncer makes files durable and closes them while others are received.
type syncer struct {
	queue chan *os.File
	wg    sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

func newSyncer() *syncer {
	s := &syncer{queue: make(chan *os.File, syncQueue)}
	for range syncers {
		s.wg.Go(func() {
			for f := range s.queue {
				err := f.Sync()
				if closeErr := f.Close(); err == nil {
					err = closeErr
				}
				s.failed(err)
			}
		})
	}
	return s
}

func (s *syncer) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// add takes a file over. The error is that of any file before.
func (s *syncer) add(f *os.File) error {
	s.queue <- f
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// close waits until all are durable. It is called once.
func (s *syncer) close() error {
	close(s.queue)
	s.wg.Wait()
	return s.err
}
