package replication

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/walplex/walplex/sdk/wal"
)

// Catalog looks relations up over ordinary connections, one a database, made when
// the first name of it is asked for. One goroutine owns it.
type Catalog struct {
	cfg   Config
	conns map[string]*Ordinary // "": the string's database
}

// NewCatalog makes a catalog that has no connection yet.
func NewCatalog(cfg Config) *Catalog { return &Catalog{cfg: cfg, conns: map[string]*Ordinary{}} }

// relationQuery finds a relation's file in the connection's database. What all
// databases share has the database 0 in WAL; relfilenodes of mapped catalogs are
// not in pg_class, and the function knows them.
const relationQuery = `
SELECT CASE WHEN c.relisshared THEN 0 ELSE d.oid END, coalesce(nullif(c.reltablespace, 0), d.dattablespace),
       coalesce(pg_relation_filenode(c.oid), 0), c.relkind
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d
 WHERE d.datname = current_database() AND n.nspname = $1 AND c.relname = $2`

// Relation is the file of a relation as it stands now, the commits that are
// visible now included. database "" is the one that the connection string names.
// Where there is no file, why says so.
func (c *Catalog) Relation(ctx context.Context, database, schema, name string) (file wal.RelFileLocator, why string, err error) {
	conn, err := c.connect(ctx, database)
	if err != nil {
		return file, "", err
	}
	op := fmt.Sprintf("look up the relation %s.%s", schema, name)
	rows, err := conn.Query(ctx, op, relationQuery, schema, name)
	switch {
	case err != nil:
		return file, "", err
	case len(rows) == 0:
		return file, "there is no such relation", nil
	case len(rows) != 1 || len(rows[0]) != 4:
		return file, "", fmt.Errorf("%s: the server's answer does not have the expected form", op)
	}
	for i, to := range []*wal.OID{&file.DB, &file.Spc, &file.Rel} {
		n, err := strconv.ParseUint(rows[0][i], 10, 32)
		if err != nil {
			return wal.RelFileLocator{}, "", fmt.Errorf("%s: the server answers %q for an OID", op, rows[0][i])
		}
		*to = wal.OID(n)
	}
	if file.Rel != 0 {
		return file, "", nil
	}
	switch rows[0][3] { // relkind (catalog/pg_class.h)
	case "p", "I":
		return wal.RelFileLocator{}, "it is partitioned and has no file of its own: name its partitions", nil
	}
	return wal.RelFileLocator{}, "it is a view or the like and has no file", nil
}

// connect is the connection to a database. Unlike [ConnectOrdinary] it takes no
// other where there is none of the name: its relations are others.
func (c *Catalog) connect(ctx context.Context, database string) (*Ordinary, error) {
	if conn := c.conns[database]; conn != nil && !conn.Closed() {
		return conn, nil
	}
	conn, err := openOrdinary(ctx, c.cfg, func(info *ConnInfo, ctx context.Context, applicationName string) (*pgconn.PgConn, error) {
		return pgconn.ConnectConfig(ctx, info.ordinaryConfig(cmp.Or(database, info.config.Database), applicationName))
	})
	if err != nil {
		return nil, err
	}
	c.conns[database] = conn
	return conn, nil
}

// Close ends the connections. The catalog connects again when it is asked.
func (c *Catalog) Close(ctx context.Context) {
	for _, conn := range c.conns {
		conn.Close(ctx)
	}
	clear(c.conns)
}
