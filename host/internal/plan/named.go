package plan

import (
	"context"
	"log/slog"
	"sync"

	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/host/internal/relname"
	"github.com/walplex/walplex/host/internal/replication"
)

// namedFilter is a filter that names relations, with what looks them up.
type namedFilter struct {
	*filter.Filter
	watcher *relname.Watcher

	mu   sync.Mutex
	stop context.CancelFunc
}

func newNamedFilter(f *filter.Filter, server replication.Config, log *slog.Logger) *namedFilter {
	return &namedFilter{Filter: f, watcher: relname.New(f.Names(), replication.NewCatalog(server), log), stop: func() {}}
}

// Start looks the names up once, so that the first records are picked too, and
// goes on doing so until Stop or the context's end.
func (n *namedFilter) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	n.mu.Lock()
	n.stop()
	n.stop = cancel
	n.mu.Unlock()
	n.watcher.Look(ctx) // what failed is logged, and tried again by Run
	go n.watcher.Run(ctx)
}

// Stop ends the looking up. The filter picks by the files that are known.
func (n *namedFilter) Stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stop()
}
