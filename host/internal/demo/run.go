package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// Limits of waiting, where something that hangs must be told from something slow.
const (
	openLimit    = 60 * time.Second // for the sinks to be open and the stream to have caught up
	flushLimit   = 60 * time.Second // that the sinks may be without any progress
	stopLimit    = 30 * time.Second // for the server's fast shutdown under the stream
	cleanupLimit = 60 * time.Second
	pollEvery    = 20 * time.Millisecond
)

// demo is one run.
type demo struct {
	o       Options
	install postgres.Install
	dir     string
	logFile *os.File
	log     *slog.Logger
	show    *reporter

	abort   context.CancelCauseFunc // ends the steps
	cluster *postgres.Cluster
	host    *host

	redo    wal.LSN // where the server's slot begins, and so the trail
	load    load
	bench   *pgbench
	dropped dropped
	blocks  int64 // of relations, when the load had ended
	control control
	dump    dump
	proofs  [claims]proof
}

// Run runs the demonstration. nil means that everything was proved.
func Run(ctx context.Context, o Options) error {
	install, err := postgres.Find(ctx)
	if err != nil {
		return err
	}
	d := &demo{o: o, install: install}
	// Not os.TempDir: see package postgres.
	if d.dir, err = os.MkdirTemp("/tmp", "walplex-demo-"); err != nil {
		return err
	}
	if err = d.openLog(); err == nil {
		err = d.run(ctx)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w%s", err, d.lastLog())
		}
	}
	return errors.Join(err, d.cleanUp(ctx))
}

// step is a part of the run; its note is shown when it is done.
type step struct {
	name   string
	do     func(context.Context) (note string, err error)
	expect time.Duration // how long it takes, 0 unknown
}

func (d *demo) steps() []step {
	return []step{
		{"start PostgreSQL", d.startServer, 0},
		{"start the stream and its sinks", d.startHost, 0},
		{"load: pgbench -i", d.fill, 0},
		{"load: pgbench -c " + strconv.Itoa(clients) + ", first half", d.beginLoad, d.o.Load / 2},
		{"meanwhile: DROP TABLE orders", d.dropOrders, 0},
		{"recover the dropped table", d.proveRecovery, 0},
		{"load: pgbench -c " + strconv.Itoa(clients) + ", second half", d.endLoad, d.o.Load / 2},
		{"wait until all have flushed", d.awaitFlush, 0},
		{"stop PostgreSQL under the stream", d.stopServer, 0},
		{"compare all pages with the cache", d.provePages, 0},
		{"stop the sinks", d.stopHost, 0},
		{"compare trail with pg_waldump", d.proveTrail, 0},
		{"compare archive with pg_wal", d.proveArchive, 0},
	}
}

// run goes through the steps and prints what was proved.
func (d *demo) run(ctx context.Context) error {
	ctx, d.abort = context.WithCancelCause(ctx)
	defer d.abort(nil)
	title := fmt.Sprintf("walplex demo: PostgreSQL %s, pgbench with scale %d and %d clients for %.0f s",
		version(d.install), d.o.Scale, clients, d.o.Load.Seconds())
	where := "in " + d.dir + ", which is removed at the end"
	if d.o.Keep {
		where = "in " + d.dir + ", which is kept"
	}
	steps := d.steps()
	d.show = newReporter(d.o.Out, title, where, steps, d.abort)
	defer d.show.close()
	for i, s := range steps {
		d.show.begin(i)
		note, err := s.do(ctx)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("ended early: %w", context.Cause(ctx))
		}
		d.show.end(note, err)
		if err != nil && !errors.Is(err, errDiffers) {
			return err
		}
	}
	d.show.close()
	return d.result()
}

// cleanUp ends what still runs and removes everything, or says where it is.
func (d *demo) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	var err error
	if d.bench != nil {
		<-d.bench.done // the end of the steps has ended it
	}
	if d.host != nil {
		d.host.end()
	}
	if d.cluster != nil {
		if d.o.Keep {
			err = errors.Join(d.cluster.Stop(ctx, postgres.Immediate),
				os.Rename(d.cluster.Dir(), filepath.Join(d.dir, "postgres")))
		}
		err = errors.Join(err, d.cluster.Destroy(ctx))
	}
	if d.logFile != nil {
		err = errors.Join(err, d.logFile.Close())
	}
	if d.o.Keep {
		_, werr := fmt.Fprintf(d.o.Out, "Kept: %s\n", d.dir)
		return errors.Join(err, werr)
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}
