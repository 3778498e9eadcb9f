package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/walplex/walplex/host/internal/stream"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

// configuration of the stream: the server's connection string, then the sinks'
// directories.
const configuration = `stream "demo" {
  postgres {
    dsn         = %q
    slot        = "walplex"
    create_slot = true
  }

  sink "segment_file" "archive" {
    config { directory = %q }
  }

  sink "page_cache" "pages" {
    after = [sink.archive]
    config {
      directory   = %q
      base_backup = true
    }
  }

  sink "audit" "trail" {
    config { directory = %q }
  }
}
`

func (d *demo) archiveDir() string { return filepath.Join(d.dir, "archive") }
func (d *demo) pagesDir() string   { return filepath.Join(d.dir, "pages") }
func (d *demo) trailDir() string   { return filepath.Join(d.dir, "trail") }

// host is the running stream.
type host struct {
	stream *stream.Stream
	drain  chan struct{}
	cancel context.CancelFunc
	done   chan struct{} // closed when the stream has ended
	err    error         // of the stream; read after done
}

// startHost runs the configuration and waits until all sinks follow the server.
func (d *demo) startHost(ctx context.Context) (string, error) {
	path := filepath.Join(d.dir, "walplex.hcl")
	text := fmt.Sprintf(configuration, d.cluster.DSN(), d.archiveDir(), d.pagesDir(), d.trailDir())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	configs, err := d.o.Plan(ctx, path, d.log)
	if err != nil {
		return "", err
	}
	if len(configs) != 1 {
		return "", fmt.Errorf("%s has %d streams, want one", path, len(configs))
	}
	d.launch(ctx, configs[0])
	return d.awaitStream(ctx)
}

// launch runs the stream beside us, until stopHost or end. When it ends by
// itself, the run ends with it.
func (d *demo) launch(ctx context.Context, cfg stream.Config) {
	// It outlives the end of ctx, so that it is ended in order after the steps.
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	h := &host{stream: stream.New(cfg, d.log), drain: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.err = h.stream.Run(sctx, h.drain)
		if h.err != nil {
			d.abort(fmt.Errorf("the stream has stopped: %w", h.err))
		}
	}()
	d.host = h
	d.show.watch(h.stream.Status)
}

func (d *demo) awaitStream(ctx context.Context) (string, error) {
	limit := time.NewTimer(openLimit)
	defer limit.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		st := d.host.stream.Status()
		if st.State == stream.Streaming && allLive(st.Sinks) {
			return d.backupNote(ctx)
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return "", fmt.Errorf("not all sinks follow the server within %s: the stream is %s, %s. %s", openLimit, st.State, positions(st), st.Error)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// allLive reports whether every sink has what it begins with and follows the stream.
func allLive(sinks []stream.SinkStatus) bool {
	for _, k := range sinks {
		if k.State != stream.SinkLive {
			return false
		}
	}
	return len(sinks) > 0
}

// backupNote has the page cache say where its base backup begins.
func (d *demo) backupNote(ctx context.Context) (string, error) {
	c, err := d.pages()
	if err != nil {
		return "", err
	}
	defer c.Close() // nothing is in flight any more
	st, err := c.Status(ctx)
	if err != nil {
		return "", err
	}
	if st.BaseBackupLsn == 0 {
		return "", errors.New("the page cache has begun without a base backup")
	}
	return "base backup at " + wal.LSN(st.BaseBackupLsn).String(), nil
}

// pages is a client of the page cache.
func (d *demo) pages() (*pageclient.Client, error) {
	return pageclient.Dial(filepath.Join(d.pagesDir(), "pages.sock"))
}

// stopHost ends the stream in order: the sinks flush what they have and let go
// of their directories.
func (d *demo) stopHost(ctx context.Context) (string, error) {
	st := d.host.stream.Status()
	close(d.host.drain)
	select {
	case <-d.host.done:
		return "received up to " + st.Received.String(), d.host.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// end ends the stream at once, if it still runs, and waits for its end.
func (h *host) end() {
	h.cancel()
	<-h.done
}
