package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// format is the version of the schema.
const format = 1

//go:embed schema.sql
var schema string

// open opens the database on one connection: transactions are its own.
// synchronous(FULL): a transaction that was committed survives power loss. In the
// mode WAL (SQLite's own) readers do not hold up the sink, nor it them.
func open(ctx context.Context, file, pragmas string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: url.PathEscape(file)}).String()+"?_pragma=busy_timeout(10000)"+pragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), db.Close())
	}
	return db, nil
}

// openOwn opens it for the sink, and makes it when missing.
func openOwn(ctx context.Context, file string) (*sql.DB, error) {
	db, err := open(ctx, file, "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	if err := makeTables(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), db.Close())
	}
	return db, nil
}

func makeTables(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	var there int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'position'").Scan(&there); err != nil {
		return err
	}
	if there > 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	return tx.Commit()
}

// position is the row of the table of that name.
type position struct {
	systemID string
	at       wal.Position
	first    wal.LSN
}

// load reads the position; of a database that holds nothing it answers false.
func load(ctx context.Context, db *sql.DB, file string) (p position, held bool, err error) {
	var version int
	var lsn, first int64
	err = db.QueryRowContext(ctx, "SELECT format, system_id, timeline, lsn, first_lsn FROM position").Scan(&version, &p.systemID, &p.at.Timeline, &lsn, &first)
	if errors.Is(err, sql.ErrNoRows) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fmt.Errorf("%s: %w", file, err)
	}
	if version > format {
		return p, false, sdk.Permanentf("%s has format %d, this sink knows up to %d: install a newer one", file, version, format)
	}
	p.at.LSN, p.first = wal.LSN(lsn), wal.LSN(first)
	return p, true, nil
}

// save writes the position as part of the transaction whose records lead up to it.
func save(ctx context.Context, tx *sql.Tx, p position) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM position"); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO position (format, system_id, timeline, lsn, first_lsn) VALUES (?, ?, ?, ?, ?)",
		format, p.systemID, p.at.Timeline, int64(p.at.LSN), int64(p.first))
	return err
}

// query prints what a question answers, a line a row, its columns parted by tabs.
func query(ctx context.Context, file, question string, w io.Writer) error {
	db, err := open(ctx, file, "&mode=ro&_pragma=query_only(1)")
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, question)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	fmt.Fprintln(w, strings.Join(names, "\t"))
	values := make([]sql.NullString, len(names))
	into, texts := make([]any, len(names)), make([]string, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range values {
			texts[i] = values[i].String
		}
		fmt.Fprintln(w, strings.Join(texts, "\t"))
	}
	return rows.Err()
}
