package tablerecover

import (
	"io"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// BenchmarkRecover is of rows of several types from the files of a server, 8192
// bytes a page; ns/op is for the whole table.
func BenchmarkRecover(b *testing.B) {
	c := pgtest.Start(b)
	pgtest.Exec(b, c, "CREATE TABLE t (id int, v numeric, at timestamptz, note text, f float8, tags text[])",
		"INSERT INTO t SELECT g, g / 7.0, now(), repeat('n', g % 50), g / 3.0, ARRAY['a', 'b c'] FROM generate_series(1, 500000) g", "VACUUM t")
	if err := c.Stop(b.Context(), postgres.Fast); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sum, err := Recover(b.Context(), dataDir{c.DataDir()}, wal.Version(c.Install().Major()), Options{Database: "postgres", Table: "t"}, io.Discard)
		if err != nil || sum.Rows != 500000 {
			b.Fatalf("%+v, %v", sum, err)
		}
		b.SetBytes(sum.Pages * wal.BlockSize)
	}
}
