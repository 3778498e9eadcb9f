package segmentfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/walplex/walplex/sdk/wal"
)

// maxPending is how many finished segments may wait for their compression. Where
// it is slower than the WAL that comes, the next segment waits for room.
const maxPending = 4

// closeWait is how long Close waits for segments that are being compressed.
const closeWait = 10 * time.Second

// compressor compresses finished segments, one after the other, beside the sink.
// A nil one does nothing.
//
//	NAME      plain, durable: flush positions rest on it
//	          write and fsync NAME.zst.tmp · compare it with NAME ·
//	          rename it to NAME.zst · fsync the directory · unlink NAME
type compressor struct {
	dir    directory
	size   wal.SegmentSize
	codec  *codec
	level  int
	names  *sync.Mutex // held while a segment is compressed, so that nobody removes it
	inline bool        // compress at once; for tests that have to be repeatable

	jobs   chan job
	cancel context.CancelFunc
	ended  chan struct{} // closed when the worker has ended

	mu     sync.Mutex
	err    error         // of the first compression that failed
	failed chan struct{} // closed with it
}

// job is a segment, or, with reached, a place in the queue.
type job struct {
	segment *run
	no      wal.SegNo
	reached chan struct{}
}

// newCompressor starts one that goes on until it is closed, whatever becomes of
// ctx: that is Open's.
func newCompressor(ctx context.Context, dir directory, size wal.SegmentSize, z *codec, level int, names *sync.Mutex, inline bool) *compressor {
	c := &compressor{dir: dir, size: size, codec: z, level: level, names: names, inline: inline,
		jobs: make(chan job, maxPending), ended: make(chan struct{}), failed: make(chan struct{})}
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if inline {
		close(c.ended)
	} else {
		go c.work(ctx)
	}
	return c
}

func (c *compressor) work(ctx context.Context) {
	defer close(c.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case j, ok := <-c.jobs:
			if !ok {
				return
			}
			if j.reached != nil {
				close(j.reached)
				continue
			}
			if err := c.compress(ctx, j.segment, j.no); err != nil {
				c.fail(err)
				return
			}
		}
	}
}

func (c *compressor) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	close(c.failed)
}

// fault is why a compression has failed.
func (c *compressor) fault() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// add queues a finished segment of the run, and waits where too many wait.
func (c *compressor) add(ctx context.Context, r *run, no wal.SegNo) error {
	if c == nil {
		return nil
	}
	of := *r
	if c.inline {
		return c.compress(ctx, &of, no)
	}
	return c.put(ctx, job{segment: &of, no: no})
}

func (c *compressor) put(ctx context.Context, j job) error {
	select {
	case c.jobs <- j:
		return nil
	case <-c.failed:
		return c.fault()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain waits until all that was queued is done.
func (c *compressor) drain(ctx context.Context) error {
	if c == nil || c.inline {
		return nil
	}
	j := job{reached: make(chan struct{})}
	if err := c.put(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.reached:
		return nil
	case <-c.failed:
		return c.fault()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends it: at once, or when all that was queued is done, as far as ctx and
// closeWait let it. What is left, the next Open finds.
func (c *compressor) close(ctx context.Context, atOnce bool) {
	if c == nil {
		return
	}
	close(c.jobs)
	if !atOnce {
		ctx, cancel := context.WithTimeout(ctx, closeWait)
		defer cancel()
		select {
		case <-c.ended:
		case <-ctx.Done():
		}
	}
	c.cancel()
	<-c.ended
}

// compress replaces a plain finished segment by a compressed one. It does nothing
// where that has happened.
func (c *compressor) compress(ctx context.Context, r *run, no wal.SegNo) error {
	c.names.Lock()
	defer c.names.Unlock()
	segment := r.name(no)
	what := "compress segment " + segment + " (it is safe, and stays as it is)"
	file := segment + c.codec.suffix
	if _, err := c.dir.fs.Stat(c.dir.join(segment)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	switch _, err := c.dir.fs.Stat(c.dir.join(file)); {
	case err == nil:
		return c.dir.removeTwin(ctx, r, file, segment)
	case !errors.Is(err, fs.ErrNotExist):
		return explain(err, what)
	}
	temp := file + tempSuffix
	err := c.write(ctx, segment, temp)
	if err == nil {
		err = c.dir.mustEqual(ctx, r, segment, temp, false)
	}
	if err == nil {
		err = c.dir.fs.Rename(c.dir.join(temp), c.dir.join(file))
	}
	if err != nil {
		_ = c.dir.fs.Remove(c.dir.join(temp))
		return explain(err, what)
	}
	if err := c.dir.fs.SyncDir(c.dir.path); err != nil {
		return explain(err, what)
	}
	return explain(c.dir.fs.Remove(c.dir.join(segment)), what)
}

// write makes the file temp, durably but for its name, of what the segment holds.
func (c *compressor) write(ctx context.Context, segment, temp string) error {
	f, err := c.dir.fs.OpenFile(c.dir.join(temp), os.O_RDWR|os.O_CREATE|os.O_TRUNC, c.dir.access.file)
	if err != nil {
		return err
	}
	err = errors.Join(c.dir.access.give(f), c.fill(ctx, segment, f))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (c *compressor) fill(ctx context.Context, segment string, to io.Writer) error {
	z, err := c.codec.writer(to, c.level)
	if err != nil {
		return err
	}
	err = c.dir.each(ctx, segment, int64(c.size), func(p []byte) error {
		_, err := z.Write(p)
		return err
	})
	return errors.Join(err, z.Close())
}
