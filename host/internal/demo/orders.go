package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/walplex/walplex/host/internal/tablerecover"
	"github.com/walplex/walplex/sdk/wal"
)

// ordersTable is the table that is lost.
const ordersTable = "orders"

// ordersSQL makes the table before the stream begins, so that its first rows come
// with the base backup: numbers, texts, arrays, and values that are stored out of
// line.
func ordersSQL() []string {
	return []string{
		`CREATE TABLE orders (id int PRIMARY KEY, customer int, items text[], price numeric(10,2), note text, ordered timestamptz DEFAULT now())`,
		`ALTER TABLE orders ALTER note SET STORAGE external`,
		`INSERT INTO orders SELECT g, g % 1000, ARRAY['item ' || g, 'a "quoted" one'], g / 7.0, repeat(md5(g::text), g % 100) FROM generate_series(1, 5000) g`,
	}
}

// ordersChanges come under the load: from here on its rows are in the WAL.
func ordersChanges() []string {
	return []string{
		`UPDATE orders SET price = price * 2, note = note || ' changed' WHERE id % 3 = 0`,
		`DELETE FROM orders WHERE id % 10 = 0`,
		`INSERT INTO orders SELECT g, g % 1000, NULL, g / 7.0, repeat('a long note ', g % 500) FROM generate_series(5001, 6000) g`,
	}
}

// rows are all of a table's, as COPY writes them, in the order of its pages.
type rows struct {
	count int64
	sum   [sha256.Size]byte // of the text
}

func (r rows) String() string { return fmt.Sprintf("%s rows, SHA-256 %x", group(r.count), r.sum[:4]) }

// dropped is the table that was lost.
type dropped struct {
	rows         // as the server wrote them just before
	xid  uint32  // of the transaction that dropped it
	by   wal.LSN // the WAL up to here has its commit
}

// dropOrders changes the table, and drops it in a transaction that first writes
// down what is lost.
func (d *demo) dropOrders(ctx context.Context) (_ string, err error) {
	conn, err := d.cluster.Connect(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := execute(ctx, conn, ordersChanges()...); err != nil {
		return "", err
	}
	// Times are recovered in UTC. A scan has to begin at the table's first page.
	if err := execute(ctx, conn, "SET timezone = 'UTC'", "SET synchronize_seqscans = off", "BEGIN", "LOCK TABLE orders"); err != nil {
		return "", err
	}
	if d.dropped.rows, err = copyRows(ctx, conn); err != nil {
		return "", err
	}
	if err := execute(ctx, conn, "DROP TABLE orders"); err != nil {
		return "", err
	}
	var xid int64
	var lsn string
	if err := conn.QueryRow(ctx, "SELECT pg_current_xact_id()::text::bigint").Scan(&xid); err != nil {
		return "", err
	}
	if err := execute(ctx, conn, "COMMIT"); err != nil {
		return "", err
	}
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&lsn); err != nil {
		return "", err
	}
	d.dropped.xid = uint32(xid) // the WAL has the low 32 bits
	if d.dropped.by, err = wal.ParseLSN(lsn); err != nil {
		return "", err
	}
	d.log.Info("demo: orders was dropped", "xid", d.dropped.xid, "by", d.dropped.by, "rows", d.dropped.count, "sha256", hex.EncodeToString(d.dropped.sum[:]))
	return d.dropped.String(), nil
}

func execute(ctx context.Context, conn *pgx.Conn, all ...string) error {
	for _, sql := range all {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// copyRows has the server write the table.
func copyRows(ctx context.Context, conn *pgx.Conn) (r rows, err error) {
	const sql = "COPY orders TO STDOUT"
	hash := sha256.New()
	tag, err := conn.PgConn().CopyTo(ctx, hash, sql)
	if err != nil {
		return r, fmt.Errorf("%s: %w", sql, err)
	}
	return rows{tag.RowsAffected(), [sha256.Size]byte(hash.Sum(nil))}, nil
}

// recoverWait is how long the page cache may take to hold the WAL up to the drop.
const recoverWait = 60 * time.Second

// proveRecovery reads the rows back from the page cache, as they were just before
// the drop's commit: walplex table recover --before xid:N.
func (d *demo) proveRecovery(ctx context.Context) (string, error) {
	got, err := d.recoverOrders(ctx)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err == nil {
		err = compareRows(got, d.dropped.rows)
	}
	if _, err := d.proved(tableClaim, group(got.count)+" rows, the same SHA-256", err); err != nil {
		return "", err
	}
	return got.String(), nil
}

func (d *demo) recoverOrders(ctx context.Context) (r rows, err error) {
	client, err := d.pages()
	if err != nil {
		return r, err
	}
	defer client.Close() // nothing is in flight any more
	if _, err := client.Wait(ctx, d.dropped.by, recoverWait); err != nil {
		return r, err
	}
	st, err := client.Status(ctx)
	if err != nil {
		return r, err
	}
	lsn, _, err := tablerecover.Before{XID: d.dropped.xid}.Resolve(ctx, client)
	if err != nil {
		return r, err
	}
	hash := sha256.New()
	sum, err := tablerecover.Recover(ctx, tablerecover.NewSink(client, lsn, recoverWait), wal.Version(st.ServerVersion),
		tablerecover.Options{Database: "postgres", Table: ordersTable}, hash)
	if err != nil {
		return r, fmt.Errorf("%s as of %s: %w", ordersTable, lsn, err)
	}
	return rows{sum.Rows, [sha256.Size]byte(hash.Sum(nil))}, nil
}

// compareRows compares the rows that were read back with those that were lost.
func compareRows(got, want rows) error {
	switch {
	case want.count == 0:
		return fmt.Errorf("%s had no rows to lose", ordersTable)
	case got != want:
		return fmt.Errorf("%s comes back with %s, and had %s", ordersTable, got, want)
	}
	return nil
}
