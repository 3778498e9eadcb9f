package relname

import (
	"context"
	"log/slog"
	"time"

	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/sdk/wal"
)

// The rhythm of a watcher.
const (
	// FirstWait is the time between the first two looks after a telling, and the
	// least between any two.
	FirstWait = 100 * time.Millisecond
	// MostWait is what it grows to while names are not settled.
	MostWait = 5 * time.Second
	// Settle is how long after the last telling names count as not settled: a
	// transaction that makes a file and commits later is found by Refresh.
	Settle = 10 * time.Minute
	// Refresh is the time between two looks when all is quiet.
	Refresh = 5 * time.Minute
	// RetryWait is what the wait grows to while the server cannot be asked.
	RetryWait = time.Minute
	// lookTimeout bounds one look, connecting included.
	lookTimeout = 10 * time.Second
	// closeTimeout bounds saying goodbye.
	closeTimeout = time.Second
)

// Catalog answers where a relation's file is; why says why it has none. Database
// "" is the connection's. After Close it connects again when it is asked.
type Catalog interface {
	Relation(ctx context.Context, database, schema, name string) (file wal.RelFileLocator, why string, err error)
	Close(ctx context.Context)
}

// Watcher keeps the names of one filter. Whoever calls a method while another
// runs waits until that has ended: a sink that is started again may use the filter
// of one that is just ending.
type Watcher struct {
	busy    chan struct{} // holds one element while a method runs
	names   *filter.Names
	catalog Catalog
	log     *slog.Logger

	files   []wal.RelFileLocator // of each name, when last found
	why     []string             // each has no file, as last said
	failing bool                 // said
}

// New makes a watcher of the names, which has not looked yet.
func New(names *filter.Names, catalog Catalog, log *slog.Logger) *Watcher {
	n := len(names.List())
	return &Watcher{busy: make(chan struct{}, 1), names: names, catalog: catalog, log: log, files: make([]wal.RelFileLocator, n), why: make([]string, n)}
}

// Look looks all names up once, and logs what is new: a name that has no file, one
// that has another. It answers false where the server could not be asked, which is
// logged once. Before a stream begins it makes the filter pick from the first
// record on.
func (w *Watcher) Look(ctx context.Context) bool {
	if !w.begin(ctx) {
		return false
	}
	defer w.end()
	defer w.close(ctx)
	return w.look(ctx)
}

// begin waits for the method that runs; false: ctx has ended.
func (w *Watcher) begin(ctx context.Context) bool {
	select {
	case w.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *Watcher) end() { <-w.busy }

func (w *Watcher) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for i, n := range w.names.List() {
		file, why, err := w.catalog.Relation(ctx, n.Database, n.Schema, n.Relation)
		if err != nil {
			w.failed(ctx, n, err)
			return false
		}
		w.found(i, n, file, why)
	}
	if w.failing {
		w.failing = false
		w.log.Info("the relations that the filter names can be looked up again")
	}
	return true
}

func (w *Watcher) failed(ctx context.Context, n filter.Name, err error) {
	if w.failing || context.Cause(ctx) == context.Canceled {
		return
	}
	w.failing = true
	w.log.Warn("a relation that the filter names cannot be looked up: the filter picks by the files that are known, and tries again",
		"relation", n.String(), "error", err)
}

func (w *Watcher) found(i int, n filter.Name, file wal.RelFileLocator, why string) {
	if why != "" {
		if w.why[i] != why {
			w.log.Warn("a relation that the filter names has no file: nothing is picked by this name until it has",
				"relation", n.String(), "reason", why)
		}
		w.why[i] = why
		return
	}
	w.names.Add(i, file)
	if w.why[i] != "" || w.files[i] != file {
		w.log.Info("the filter picks a relation by its file", "relation", n.String(), "file", file.String())
	}
	w.why[i], w.files[i] = "", file
}

// Run looks names up until ctx ends, which is all that ends it.
func (w *Watcher) Run(ctx context.Context) {
	if !w.begin(ctx) {
		return
	}
	defer w.end()
	defer w.close(ctx)
	wait, settled := FirstWait, time.Now()
	for {
		if !w.look(ctx) {
			wait = min(2*wait, RetryWait)
			w.close(ctx)
		} else if time.Now().Before(settled) {
			wait = min(2*wait, MostWait)
		} else {
			wait = Refresh
			w.close(ctx)
		}
		told, over := w.pause(ctx, wait)
		if over {
			return
		}
		if told {
			wait, settled = FirstWait/2, time.Now().Add(Settle) // doubled before it is waited for
		}
	}
}

// pause waits, at least FirstWait, or until it is told.
func (w *Watcher) pause(ctx context.Context, wait time.Duration) (told, over bool) {
	least, t := time.NewTimer(FirstWait), time.NewTimer(wait)
	defer least.Stop()
	defer t.Stop()
	select {
	case <-least.C:
	case <-ctx.Done():
		return false, true
	}
	select {
	case <-w.names.Stale():
		return true, false
	case <-t.C:
		return false, false
	case <-ctx.Done():
		return false, true
	}
}

func (w *Watcher) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	w.catalog.Close(ctx)
}
