// Package pageclient reads pages from a running page_cache sink, over the Unix
// socket on which it listens, or over TCP with TLS on both sides.
//
//	c, err := pageclient.Dial("/var/lib/walplex/pages/pages.sock")
//	res, err := c.Page(ctx, pageclient.PageRequest{Rel: rel, Block: 7, LSN: lsn})
//
// Package pagepb is the service that it calls, and says what each answer means.
// Errors of the sink are [*Error], with the code that pagepb promises.
package pageclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/pagepb"
)

// Limits of a connection.
const (
	// grace is what a call gets beyond the time that it may wait, so that the sink's
	// own words about the wait arrive.
	grace = 5 * time.Second
	// maxAnswer bounds one part of an answer, in bytes: a record of a page's history
	// has up to 16 MiB.
	maxAnswer = 32 << 20
	// streamWindow and connWindow bound what the sink sends ahead of us, in bytes.
	streamWindow = 8 << 20
	connWindow   = 16 << 20
	// socketBuffer is how much is read at once, in bytes.
	socketBuffer = 256 << 10
)

// Client is a connection to a page_cache sink. It is safe for concurrent use.
type Client struct {
	where string // the sink, for people
	hint  string // what to do when nobody answers there
	conn  *grpc.ClientConn
	pages pagepb.PagesClient
	fault atomic.Pointer[error] // why there is no connection, nil where there is one
}

// Dial names the socket. It connects with the first call.
func Dial(socket string) (*Client, error) {
	c := &Client{where: socket, hint: "start walplex with one, or name its socket"}
	// A Unix socket with permissions is the protection that TLS would be.
	return c, c.open(func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	})
}

// open makes the connection, which dial will connect.
func (c *Client) open(dial func(context.Context, string) (net.Conn, error)) (err error) {
	c.conn, err = grpc.NewClient("passthrough:///page_cache",
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			conn, err := dial(ctx, to)
			c.note(err)
			return conn, err
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // dial has TLS where it is wanted
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(socketBuffer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return err
	}
	c.pages = pagepb.NewPagesClient(c.conn)
	return nil
}

// note keeps why there is no connection.
func (c *Client) note(err error) {
	if err == nil {
		c.fault.Store(nil)
		return
	}
	c.fault.Store(&err)
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

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
	if fault := c.fault.Load(); fault != nil && st.Code() == codes.Unavailable {
		e.Reason = fmt.Sprintf("no page_cache sink answers at %s: %v; %s", c.where, plain(*fault), c.hint)
	}
	return e
}

// plain leaves out of a network error what is said already.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
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

// NotKept begins the sink's answer for a relation that its settings leave out, a
// NOT_FOUND that is no finding about the relation.
const NotKept = "not kept here"

// IsNotKept reports whether the sink has answered so.
func IsNotKept(err error) bool {
	return Code(err) == codes.NotFound && strings.HasPrefix(err.Error(), NotKept)
}
