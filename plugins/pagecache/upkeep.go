package pagecache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// How often things are done unless the settings say otherwise.
const (
	gaugeInterval   = 10 * time.Second // the store's sizes are told
	collectInterval = time.Minute      // history is collected
)

// upkeep is what is done beside writing and reading, until stop: history that is
// not to be kept is collected, and the store's sizes are told.
type upkeep struct {
	store  *pagestore.Store
	o      pagestore.CollectOptions
	log    *slog.Logger
	gauges *gauges
	cancel context.CancelFunc
	done   chan struct{}
}

// startUpkeep begins. ctx is of the calls of a sink, of which each may end.
func startUpkeep(ctx context.Context, c *Config, store *pagestore.Store, m *sdk.Metrics, log *slog.Logger) (*upkeep, error) {
	o := pagestore.CollectOptions{Retain: uint64(c.Retain), MaxReplay: c.MaxReplay}
	if c.RetainAge != "" {
		var err error
		if o.RetainAge, err = retention.ParseAge(c.RetainAge); err != nil {
			return nil, sdk.Permanentf("retain_age: %w", err)
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	every := c.RetainInterval
	if every <= 0 {
		every = collectInterval
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	u := &upkeep{store: store, o: o, log: log, gauges: newGauges(m), cancel: cancel, done: make(chan struct{})}
	go u.run(ctx, every)
	return u, nil
}

// stop ends it, and waits as long as ctx lasts: a file system may hang.
func (u *upkeep) stop(ctx context.Context) {
	u.cancel()
	select {
	case <-u.done:
	case <-ctx.Done():
	}
}

func (u *upkeep) run(ctx context.Context, every time.Duration) {
	defer close(u.done)
	look, collect := time.NewTicker(min(gaugeInterval, every)), time.NewTicker(every)
	defer look.Stop()
	defer collect.Stop()
	for {
		u.tell()
		select {
		case <-look.C:
		case <-collect.C:
			u.collect(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// collect takes away what is not to be kept. What fails is tried again at the next
// time; what the store cannot go on after, its next Commit says.
func (u *upkeep) collect(ctx context.Context) {
	o := u.o
	o.Now = time.Now()
	done, err := u.store.Collect(ctx, o)
	u.gauges.collected(done)
	switch {
	case ctx.Err() != nil, errors.Is(err, pagestore.ErrClosed):
	case err != nil:
		u.log.Error("history of pages was not collected", "error", err)
	case done.Pages+done.Images+done.Keys > 0:
		u.log.Info("history of pages was collected", "horizon", done.Horizon.String(), "pages", done.Pages, "images", done.Images,
			"freed_bytes", done.Freed)
	}
	if done.Lost > 0 {
		u.log.Warn("pages could not be made when their history was collected, and are not known until their next image", "pages", done.Lost)
	}
}

// gauges are the store's sizes, and what upkeep has done, in the host's metrics.
type gauges struct {
	values, images, index       sdk.Gauge
	horizon, lastValid, flushed sdk.Gauge
	made, lost, freed           sdk.Counter
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
		made:      m.Counter("images_made_total", "Page images that were made, of pages whose history was collected or is long."),
		lost:      m.Counter("pages_lost_total", "Pages that redo could not make when their history was collected."),
		freed:     m.Counter("freed_bytes_total", "Bytes on disk that collecting has freed."),
	}
}

func (g *gauges) collected(c pagestore.Collected) {
	g.made.Add(float64(c.Images))
	g.lost.Add(float64(c.Lost))
	g.freed.Add(float64(c.Freed))
}

// tell sets what can be asked for.
func (u *upkeep) tell() {
	g, st := u.gauges, u.store.Visible()
	g.horizon.Set(float64(st.Horizon))
	g.lastValid.Set(float64(st.LastValid))
	g.flushed.Set(float64(st.Position))
	size, err := u.store.Size()
	if errors.Is(err, pagestore.ErrClosed) {
		return
	}
	if err != nil {
		u.log.Warn("the sizes of the page cache are not known", "error", err)
		return
	}
	g.values.Set(float64(size.Values))
	g.images.Set(float64(size.Images))
	g.index.Set(float64(size.Index))
}
