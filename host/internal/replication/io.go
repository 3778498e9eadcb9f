package replication

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"
)

// longAgo is a deadline that ends every wait at once.
var longAgo = time.Unix(1, 0)

// errDeadline is a read whose deadline has passed. The connection is as good as
// before: what was read of a message is kept.
var errDeadline = errors.New("deadline")

// read waits for the next message until the deadline or the end of ctx. It
// returns ctx.Err(), errDeadline, or a lost connection's error. The message is
// valid until the next read.
//
// pgconn's own ReceiveMessage is not used while streaming: it holds a lock that
// a status would need, and starts a goroutine for each message.
func (c *Conn) read(ctx context.Context, deadline time.Time) (pgproto3.BackendMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn := c.pg.Conn()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	release := interruptible(ctx, conn.SetReadDeadline)
	msg, err := c.pg.Frontend().Receive()
	release()
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errDeadline
	}
	return msg, err
}

// write sends bytes within ReceiverTimeout or until ctx ends. Needs wmu while
// streaming. A failed write may have sent a part, so nothing may follow it.
func (c *Conn) write(ctx context.Context, op string, b []byte) error {
	if ctx.Err() != nil {
		return contextError(op, c.server, ctx)
	}
	conn := c.pg.Conn()
	err := conn.SetWriteDeadline(time.Now().Add(c.cfg.ReceiverTimeout))
	if err == nil {
		release := interruptible(ctx, conn.SetWriteDeadline)
		_, err = conn.Write(b)
		release()
	}
	if err == nil {
		return nil
	}
	c.copying = false
	if ctx.Err() != nil {
		return contextError(op, c.server, ctx)
	}
	return networkError(op, c.server, err)
}

// interruptible has the end of ctx set a deadline in the past. The function that
// it returns takes that back, and returns only when it can no longer happen: a
// deadline set late would hit the next read.
func interruptible(ctx context.Context, setDeadline func(time.Time) error) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = setDeadline(longAgo) // fails only on a closed connection, where the read ends anyway
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// Drained reports that nothing of the server's waits here: neither a message nor
// a part of one is in the buffer or in the socket. It asks the socket, so a
// message that arrives right after it is not seen. While the server has more WAL
// than it has sent, that is on its way and counts as waiting: where the server is
// slower than we are, the socket is empty most of the time.
//
// Under TLS it is approximate: TLS has a buffer of its own, so it may report
// true while a message waits, which the next Receive returns at once. It never
// stays false at rest.
func (c *Conn) Drained() bool {
	if c.received < c.serverEnd || c.pg.Frontend().ReadBufferLen() > 0 {
		return false
	}
	if c.raw == nil {
		return true
	}
	var n int
	var ioErr error
	if err := c.raw.Control(func(fd uintptr) {
		n, _, ioErr = unix.Recvfrom(int(fd), c.peek[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		return true
	}
	return ioErr != nil || n == 0
}
