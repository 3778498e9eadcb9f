package plan

import (
	"log/slog"

	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/host/internal/relname"
	"github.com/walplex/walplex/host/internal/replication"
)

// namedFilter is a filter that names relations, with what looks them up: whoever
// uses it calls Look before the first record and Run beside it, in one goroutine,
// for as long as it is used.
type namedFilter struct {
	*filter.Filter
	*relname.Watcher
}

func newNamedFilter(f *filter.Filter, server replication.Config, log *slog.Logger) *namedFilter {
	return &namedFilter{f, relname.New(f.Names(), replication.NewCatalog(server), log)}
}
