package pagecache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
)

// upkeepInterval is how often the store's sizes are told.
const upkeepInterval = 10 * time.Second

// upkeep is what is done beside writing and reading, until stop.
type upkeep struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func startUpkeep(ctx context.Context, store *pagestore.Store, g *gauges, log *slog.Logger) *upkeep {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // Open's own may end with it
	u := &upkeep{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		tick := time.NewTicker(upkeepInterval)
		defer tick.Stop()
		for {
			g.set(store, log)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return u
}

// stop ends it, and waits.
func (u *upkeep) stop() {
	u.cancel()
	<-u.done
}

// gauges are the store's sizes in the host's metrics.
type gauges struct {
	values, images, index       sdk.Gauge
	horizon, lastValid, flushed sdk.Gauge
}

func newGauges(m *sdk.Metrics) *gauges {
	if m == nil {
		m = &sdk.Metrics{}
	}
	return &gauges{
		values:    m.Gauge("values_bytes", "Size of the records on disk."),
		images:    m.Gauge("image_bytes", "Size on disk of page images that were imported or made."),
		index:     m.Gauge("index_bytes", "Size of the index on disk."),
		horizon:   m.Gauge("horizon_lsn", "No page can be read below it."),
		lastValid: m.Gauge("last_valid_lsn", "A read at it does not wait."),
		flushed:   m.Gauge("flushed_lsn", "Position after a restart."),
	}
}

func (g *gauges) set(store *pagestore.Store, log *slog.Logger) {
	st := store.Visible()
	g.horizon.Set(float64(st.Horizon))
	g.lastValid.Set(float64(st.LastValid))
	g.flushed.Set(float64(st.Position))
	size, err := store.Size()
	if errors.Is(err, pagestore.ErrClosed) {
		return
	}
	if err != nil {
		if log != nil {
			log.Warn("the sizes of the page cache are not known", "error", err)
		}
		return
	}
	g.values.Set(float64(size.Values))
	g.images.Set(float64(size.Images))
	g.index.Set(float64(size.Index))
}
