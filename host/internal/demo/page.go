package demo

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

// pageWait is how long the page cache may take to hold the WAL up to the page.
const pageWait = 30 * time.Second

// pageTries is how often the row is updated until its new version stays on the
// old one's page. The first update may move it to one that has room.
const pageTries = 6

// serverPage is a page as the server has it.
type serverPage struct {
	rel   string // tablespace/database/relation file number
	block uint32
	bytes []byte
	lsn   wal.LSN // up to which WAL was flushed when it was read
}

// provePage compares a page that was changed just now.
func (d *demo) provePage(ctx context.Context) (string, error) {
	want, err := d.changePage(ctx)
	if err != nil {
		return "", err
	}
	var got strings.Builder
	err = pageclient.GetPage(ctx, &got, pageclient.GetOptions{
		From: filepath.Join(d.pagesDir(), "pages.sock"), Relation: want.rel, Block: want.block, LSN: want.lsn.String(), Wait: pageWait,
	})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	n := 0
	if err == nil {
		n, err = comparePages([]byte(got.String()), want.bytes)
	}
	if err != nil {
		err = fmt.Errorf("pgbench_accounts, relation %s, block %d at %s: %w", want.rel, want.block, want.lsn, err)
	}
	return d.proved(pageClaim, fmt.Sprintf("pgbench_accounts block %s, %s bytes", group(int64(want.block)), group(int64(n))), err)
}

// changePage updates a row so that one record, the page's newest, holds the page
// as a whole: the first change of a page after a checkpoint carries its image.
// That record must be the only one of the update on this page, so the row has
// to stay on it; and nothing reads the page through SQL afterwards, which could
// set hint bits that no WAL tells of.
func (d *demo) changePage(ctx context.Context) (p serverPage, err error) {
	conn, err := d.cluster.Connect(ctx)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for range pageTries {
		var before, after uint32
		// Reading the row first has the page pruned before the checkpoint, not by the
		// update, whose record would then be the page's second.
		if err := queryRow(ctx, conn, "SELECT (ctid::text::point)[0]::bigint FROM pgbench_accounts WHERE aid = 1", &before); err != nil {
			return p, err
		}
		if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
			return p, err
		}
		if err := queryRow(ctx, conn, "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1 RETURNING (ctid::text::point)[0]::bigint", &after); err != nil {
			return p, err
		}
		if before == after {
			return readServerPage(ctx, conn, after)
		}
	}
	return p, fmt.Errorf("a row of pgbench_accounts has changed its page with each of %d updates", pageTries)
}

func readServerPage(ctx context.Context, conn *pgx.Conn, block uint32) (serverPage, error) {
	p := serverPage{block: block}
	var page, lsn string
	err := queryRow(ctx, conn, fmt.Sprintf(`SELECT encode(get_raw_page('pgbench_accounts', %d), 'hex'), pg_current_wal_flush_lsn()::text,
		concat_ws('/', CASE reltablespace WHEN 0 THEN dattablespace ELSE reltablespace END, d.oid, pg_relation_filenode(c.oid))
		FROM pg_class c, pg_database d WHERE c.oid = 'pgbench_accounts'::regclass AND datname = current_database()`, block), &page, &lsn, &p.rel)
	if err != nil {
		return p, err
	}
	if p.bytes, err = hex.DecodeString(page); err != nil {
		return p, err
	}
	p.lsn, err = wal.ParseLSN(lsn)
	return p, err
}

// queryRow reads one row by the simple protocol, as psql would.
func queryRow(ctx context.Context, conn *pgx.Conn, sql string, to ...any) error {
	if err := conn.QueryRow(ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(to...); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// Places in a page's header, in bytes (PageHeaderData of storage/bufpage.h).
const (
	pageChecksum   = 8
	pageFlags      = 10
	pageLower      = 12
	pageUpper      = 14
	pageHeaderSize = 24
)

// comparePages compares a page with the server's and answers how many bytes were
// compared: all but pd_checksum, which the server sets when it writes the page.
// In the hole between pd_lower and pd_upper, which images leave out, zeros are
// right: what the server has there is left over from other tuples.
func comparePages(got, want []byte) (int, error) {
	if len(got) != wal.BlockSize || len(want) != wal.BlockSize {
		return 0, fmt.Errorf("the page has %d bytes, the server's %d, want %d", len(got), len(want), wal.BlockSize)
	}
	lower, upper := int(binary.NativeEndian.Uint16(want[pageLower:])), int(binary.NativeEndian.Uint16(want[pageUpper:]))
	if lower < pageHeaderSize || lower > upper || upper > wal.BlockSize {
		lower, upper = wal.BlockSize, wal.BlockSize // there is no hole
	}
	n := 0
	for i := range got {
		switch {
		case i >= pageChecksum && i < pageFlags:
			continue
		case got[i] == want[i] || got[i] == 0 && i >= lower && i < upper:
			n++
		default:
			return n, fmt.Errorf("byte %d of the page is %02X, the server has %02X", i, got[i], want[i])
		}
	}
	return n, nil
}
