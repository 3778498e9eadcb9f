package relname_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/filter"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/relname"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// testTimeout bounds every wait of a test: long enough to be no cause of failure.
const testTimeout = time.Minute

// follower gives a server's records to a filter.
type follower struct {
	t      *testing.T
	conn   *replication.Conn
	reader *xlogreader.Reader
	f      *filter.Filter
	picked []string // operations of Heap records
}

func follow(ctx context.Context, t *testing.T, c *postgres.Cluster, f *filter.Filter) *follower {
	t.Helper()
	conn, err := replication.Connect(ctx, replication.Config{DSN: c.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	lsn, err := c.SwitchWAL(ctx)
	if err != nil {
		t.Fatal(err)
	}
	start := (wal.MinSegmentSize - 1 + lsn) &^ (wal.MinSegmentSize - 1)
	if sw, err := conn.StartPhysical(ctx, replication.StartOptions{LSN: start}); err != nil || sw != nil {
		t.Fatal(sw, err)
	}
	return &follower{t: t, conn: conn, f: f, reader: xlogreader.New(start, xlogreader.Options{SegmentSize: wal.MinSegmentSize})}
}

// to gives the filter all records that the server has written now.
func (f *follower) to(ctx context.Context, c *postgres.Cluster) []string {
	f.t.Helper()
	end, err := c.FlushLSN(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	f.picked = nil
	for f.reader.RecordsEnd() < end {
		m, err := f.conn.Receive(ctx)
		if err != nil {
			f.t.Fatal(err)
		}
		if m.Kind != replication.XLogData {
			continue
		}
		f.reader.Feed(m.Data)
		f.take()
	}
	return f.picked
}

func (f *follower) take() {
	var rec wal.Record
	for {
		status, err := f.reader.Next(&rec)
		if err != nil {
			f.t.Fatal(err)
		}
		if status != xlogreader.Record {
			return
		}
		if f.f.Match(&rec) && rec.RmgrID == wal.RmgrHeap {
			f.picked = append(f.picked, rec.Operation())
		}
	}
}

// A relation that did not exist, and one that gets other files, is picked by its
// name; one of the same name elsewhere is not.
func TestServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	c := pgtest.Start(t, func(o *postgres.Options) { o.SegmentSizeMB = 1 })
	pgtest.Exec(t, c, "CREATE SCHEMA other", "CREATE TABLE other.orders (a int)")
	f := compile(t, `record.relation == "postgres.public.orders"`)
	catalog := replication.NewCatalog(replication.Config{DSN: c.DSN()})
	watcher := relname.New(f.Names(), catalog, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if !watcher.Look(ctx) {
		t.Fatal("the first look has failed")
	}
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { watcher.Run(runCtx); close(done) }()
	defer func() { stop(); <-done }()
	s := follow(ctx, t, c, f)

	// until waits until the filter picks the file that the table has now.
	until := func() {
		t.Helper()
		var file wal.RelFileLocator
		text, err := c.QueryString(ctx, "SELECT '1663 ' || oid || ' ' || pg_relation_filenode('public.orders') FROM pg_database WHERE datname = current_database()")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(text, &file.Spc, &file.DB, &file.Rel); err != nil {
			t.Fatal(err)
		}
		for !picks(f, file) {
			select {
			case <-ctx.Done():
				t.Fatalf("the file %s is not picked", file)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	for _, change := range []string{"CREATE TABLE orders (a int)", "TRUNCATE orders", "VACUUM FULL orders", "ALTER TABLE orders ALTER a TYPE text"} {
		pgtest.Exec(t, c, change)
		s.to(ctx, c)
		until()
		pgtest.Exec(t, c, "INSERT INTO other.orders VALUES (1)", "INSERT INTO orders VALUES (1)", "DELETE FROM orders")
		if got := s.to(ctx, c); !slices.Contains(got, "DELETE") || slices.Contains(got, "TRUNCATE") || len(got) > 4 {
			t.Errorf("after %s: %q are picked", change, got)
		}
	}
}
