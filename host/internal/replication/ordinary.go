package replication

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Ordinary is a connection for SQL to the server that a [Config] leads to, as
// its role: not a walsender. pg_hba.conf has to allow it beside replication. One
// goroutine owns it.
type Ordinary struct {
	pg     *pgconn.PgConn
	info   *ConnInfo
	server string
	cfg    Config
}

// ConnectOrdinary connects to the string's database, or to postgres where the
// string names none that exists.
func ConnectOrdinary(ctx context.Context, cfg Config) (*Ordinary, error) {
	return openOrdinary(ctx, cfg, (*ConnInfo).connectOrdinary)
}

// openOrdinary makes an Ordinary of the connection that dial makes.
func openOrdinary(ctx context.Context, cfg Config, dial func(*ConnInfo, context.Context, string) (*pgconn.PgConn, error)) (*Ordinary, error) {
	info, err := ParseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = DefaultApplicationName
	}
	if cfg.ReceiverTimeout <= 0 {
		cfg.ReceiverTimeout = DefaultReceiverTimeout
	}
	pg, err := dial(info, ctx, cfg.ApplicationName)
	if err != nil {
		e := connectError(ctx, info, err)
		e.Op = "connect for SQL"
		if e.Remedy == remedyHBA {
			e.Remedy = "add a line for a database, this role and this client to the server's pg_hba.conf and reload it"
		}
		return nil, e
	}
	return &Ordinary{pg: pg, info: info, server: pg.Conn().RemoteAddr().String(), cfg: cfg}, nil
}

// Server is the address of the server: host:port or the path of its socket.
func (o *Ordinary) Server() string { return o.server }

// Query runs one statement with text parameters and answers its rows as text;
// NULL is empty. op names it in errors. Config.ReceiverTimeout bounds it; after
// an error that is not the server's the connection is of no more use.
func (o *Ordinary) Query(ctx context.Context, op, sql string, args ...string) ([][]string, error) {
	bounded, cancel := context.WithTimeout(ctx, o.cfg.ReceiverTimeout)
	defer cancel()
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	result := o.pg.ExecParams(bounded, sql, params, nil, nil, nil).Read()
	var pgErr *pgconn.PgError
	switch {
	case result.Err == nil:
	case errors.As(result.Err, &pgErr):
		return nil, serverError(op, o.server, pgErr, inCommand, false)
	case ctx.Err() != nil:
		return nil, contextError(op, o.server, ctx)
	default:
		return nil, networkError(op, o.server, result.Err)
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = make([]string, len(row))
		for j, v := range row {
			rows[i][j] = string(v)
		}
	}
	return rows, nil
}

// Closed reports whether the connection is of no more use.
func (o *Ordinary) Closed() bool { return o.pg.IsClosed() }

// Close ends the connection.
func (o *Ordinary) Close(ctx context.Context) { _ = o.pg.Close(ctx) }

// connectOrdinary connects to the string's database or else to postgres.
func (c *ConnInfo) connectOrdinary(ctx context.Context, applicationName string) (*pgconn.PgConn, error) {
	pg, err := pgconn.ConnectConfig(ctx, c.ordinaryConfig(c.config.Database, applicationName))
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == codeInvalidCatalogName {
		return pgconn.ConnectConfig(ctx, c.ordinaryConfig(fallbackDatabase, applicationName))
	}
	return pg, err
}
