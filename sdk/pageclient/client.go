// Package pageclient reads pages from a running page_cache sink, over the Unix
// socket on which it listens.
package pageclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// grace is what a call gets beyond the time that it may wait, so that the sink's
// own words about the wait arrive.
const grace = 5 * time.Second

// Client is a connection to a page_cache sink. It is safe for concurrent use.
type Client struct {
	socket string
	conn   *grpc.ClientConn
	pages  pagepb.PagesClient
	dialed atomic.Pointer[net.OpError] // why the last attempt to connect failed, nil when it did not
}

// Dial names the socket. It connects with the first call.
func Dial(socket string) (*Client, error) {
	c := &Client{socket: socket}
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", socket)
		var failed *net.OpError
		errors.As(err, &failed)
		c.dialed.Store(failed)
		return conn, err
	}
	// A Unix socket with permissions is the protection that TLS would be.
	conn, err := grpc.NewClient("passthrough:///page_cache",
		grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	c.conn, c.pages = conn, pagepb.NewPagesClient(conn)
	return c, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// PageRequest names a page as of an LSN.
type PageRequest struct {
	Rel   wal.RelFileLocator
	Fork  wal.ForkNumber
	Block wal.BlockNumber
	LSN   wal.LSN       // 0: as of the last WAL that the sink can read
	Wait  time.Duration // how long to wait for the LSN; 0: as long as ctx lasts
}

// Page reads a page.
func (c *Client) Page(ctx context.Context, r PageRequest) (*pagepb.GetPageResponse, error) {
	ctx, cancel := bounded(ctx, r.Wait)
	defer cancel()
	res, err := c.pages.GetPage(ctx, &pagepb.GetPageRequest{
		Relation: &pagepb.Relation{Tablespace: uint32(r.Rel.Spc), Database: uint32(r.Rel.DB), Relation: uint32(r.Rel.Rel)},
		Fork:     uint32(r.Fork), Block: uint32(r.Block), Lsn: uint64(r.LSN), WaitMs: milliseconds(r.Wait),
	})
	return res, c.explain(err)
}

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

func bounded(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, wait+grace)
}

// milliseconds rounds up, so that a short wait does not become an endless one.
func milliseconds(d time.Duration) uint32 {
	ms := (d + time.Millisecond - 1) / time.Millisecond
	return uint32(min(max(ms, 0), 1<<32-1))
}

// explain makes an error for people; [Code] still finds its code.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	e := &Error{Code: st.Code(), Reason: st.Message()}
	if failed := c.dialed.Load(); failed != nil && st.Code() == codes.Unavailable {
		e.Reason = fmt.Sprintf("no page_cache sink answers at %s: %v; start walplex with one, or name its socket", c.socket, failed.Err)
	}
	return e
}

// Error is what the sink answered instead of a page, or why it did not.
type Error struct {
	Code   codes.Code // as pages.proto promises
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Code is the code of an error of this package, codes.OK for none.
func Code(err error) codes.Code {
	var e *Error
	switch {
	case err == nil:
		return codes.OK
	case errors.As(err, &e):
		return e.Code
	}
	return codes.Unknown
}
