package replication_test

import (
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
	"github.com/walplex/walplex/sdk/wal"
)

// BenchmarkReceive streams what pgbench's initialisation wrote and throws it away.
func BenchmarkReceive(b *testing.B) {
	ctx := b.Context()
	c := pgtest.Start(b, func(o *postgres.Options) {
		o.Conf = map[string]string{"wal_keep_size": "4GB", "max_wal_size": "4GB"}
	})
	begin, err := c.FlushLSN(ctx)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Pgbench(ctx, "-i", "-q", "-s", "20"); err != nil {
		b.Fatal(err)
	}
	end, err := c.FlushLSN(ctx)
	if err != nil {
		b.Fatal(err)
	}
	conn, err := replication.Connect(ctx, replication.Config{DSN: c.DSN()})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	b.SetBytes(int64(end - begin))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.StartPhysical(ctx, replication.StartOptions{LSN: begin}); err != nil {
			b.Fatal(err)
		}
		for at := begin; at < end; {
			m, err := conn.Receive(ctx)
			if err != nil {
				b.Fatal(err)
			}
			if m.Kind == replication.XLogData {
				at = m.WALStart + wal.LSN(len(m.Data))
			}
		}
		if _, err := conn.EndCopy(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
