package pageclient

import (
	"context"
	"time"

	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// AsOf is the moment of a read, and how long to wait for it.
type AsOf struct {
	LSN  wal.LSN       // 0: as of the last WAL that the sink can read
	Wait time.Duration // how long to wait for the LSN; 0: as long as ctx lasts
}

// PageRequest names a page as of an LSN.
type PageRequest struct {
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber
	LSN   wal.LSN       // 0: as of the last WAL that the sink can read
	Wait  time.Duration // how long to wait for the LSN; 0: as long as ctx lasts
}

func relation(r wal.RelFileLocator) *pagepb.Relation {
	return &pagepb.Relation{Tablespace: uint32(r.Spc), Database: uint32(r.DB), Relation: uint32(r.Rel)}
}

// Locator is the relation of an answer.
func Locator(r *pagepb.Relation) wal.RelFileLocator {
	return wal.RelFileLocator{Spc: wal.OID(r.GetTablespace()), DB: wal.OID(r.GetDatabase()), Rel: wal.OID(r.GetRelation())}
}

// Page reads a page.
func (c *Client) Page(ctx context.Context, r PageRequest) (*pagepb.GetPageResponse, error) {
	ctx, cancel := bounded(ctx, r.Wait)
	defer cancel()
	res, err := c.pages.GetPage(ctx, &pagepb.GetPageRequest{
		Relation: relation(r.Rel), Fork: uint32(r.Fork), Block: uint32(r.Block), Lsn: uint64(r.LSN), WaitMs: milliseconds(r.Wait),
	})
	return res, c.explain(err)
}

// SLRUPage reads a page of the transactions' states, multixacts or commit times.
func (c *Client) SLRUPage(ctx context.Context, slru pagepb.SLRU, page uint32, at AsOf) (*pagepb.GetPageResponse, error) {
	ctx, cancel := bounded(ctx, at.Wait)
	defer cancel()
	res, err := c.pages.GetSLRUPage(ctx, &pagepb.GetSLRUPageRequest{Slru: slru, Page: page, Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait)})
	return res, c.explain(err)
}

// RelMap reads a relation map file: of a database in its tablespace, or the
// shared one, database 0 in tablespace 1664.
func (c *Client) RelMap(ctx context.Context, spc, db wal.OID, at AsOf) (*pagepb.GetRelMapResponse, error) {
	ctx, cancel := bounded(ctx, at.Wait)
	defer cancel()
	res, err := c.pages.GetRelMap(ctx, &pagepb.GetRelMapRequest{Tablespace: uint32(spc), Database: uint32(db), Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait)})
	return res, c.explain(err)
}

// RelSize is how many blocks a relation's fork has.
func (c *Client) RelSize(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber, at AsOf) (*pagepb.RelSizeResponse, error) {
	ctx, cancel := bounded(ctx, at.Wait)
	defer cancel()
	res, err := c.pages.RelSize(ctx, &pagepb.RelSizeRequest{Relation: relation(rel), Fork: uint32(fork), Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait)})
	return res, c.explain(err)
}

// RelExists says whether a relation's fork exists.
func (c *Client) RelExists(ctx context.Context, rel wal.RelFileLocator, fork wal.ForkNumber, at AsOf) (*pagepb.RelExistsResponse, error) {
	ctx, cancel := bounded(ctx, at.Wait)
	defer cancel()
	res, err := c.pages.RelExists(ctx, &pagepb.RelSizeRequest{Relation: relation(rel), Fork: uint32(fork), Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait)})
	return res, c.explain(err)
}

// DbSize is how many bytes a database's relations have, in all tablespaces; of
// database 0 the shared relations.
func (c *Client) DbSize(ctx context.Context, db wal.OID, at AsOf) (*pagepb.DbSizeResponse, error) {
	ctx, cancel := bounded(ctx, at.Wait)
	defer cancel()
	res, err := c.pages.DbSize(ctx, &pagepb.DbSizeRequest{Database: uint32(db), Lsn: uint64(at.LSN), WaitMs: milliseconds(at.Wait)})
	return res, c.explain(err)
}

// LocateXID finds the commit or abort of a transaction, up to an LSN, 0 the last.
func (c *Client) LocateXID(ctx context.Context, xid uint32, to wal.LSN) (*pagepb.LocateResponse, error) {
	res, err := c.pages.Locate(ctx, &pagepb.LocateRequest{What: &pagepb.LocateRequest_Xid{Xid: xid}, Lsn: uint64(to)})
	return res, c.explain(err)
}

// LocateTime finds the first commit at or after a time, up to an LSN, 0 the last.
func (c *Client) LocateTime(ctx context.Context, at time.Time, to wal.LSN) (*pagepb.LocateResponse, error) {
	res, err := c.pages.Locate(ctx, &pagepb.LocateRequest{What: &pagepb.LocateRequest_CommitTime{CommitTime: at.UnixMicro() - epochMicros}, Lsn: uint64(to)})
	return res, c.explain(err)
}

// epochMicros is 2000-01-01 UTC, from which PostgreSQL counts, in microseconds
// since 1970 (POSTGRES_EPOCH_JDATE in datatype/timestamp.h).
const epochMicros = 946684800_000000

// Wait returns once every record that ends at or before lsn can be read, and
// answers how far the WAL was received. It waits up to wait, or, when that is 0,
// as long as ctx lasts.
func (c *Client) Wait(ctx context.Context, lsn wal.LSN, wait time.Duration) (wal.LSN, error) {
	ctx, cancel := bounded(ctx, wait)
	defer cancel()
	res, err := c.pages.WaitLSN(ctx, &pagepb.WaitLSNRequest{Lsn: uint64(lsn), WaitMs: milliseconds(wait)})
	return wal.LSN(res.GetLastValidLsn()), c.explain(err)
}

// Status says what the sink holds.
func (c *Client) Status(ctx context.Context) (*pagepb.StatusResponse, error) {
	res, err := c.pages.Status(ctx, &pagepb.StatusRequest{})
	return res, c.explain(err)
}
