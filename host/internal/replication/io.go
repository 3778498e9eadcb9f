package replication

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"github.com/walplex/walplex/sdk/wal"
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
func (c *Conn) read(ctx context.Context, deadline time.Time) (msg pgproto3.BackendMessage, err error) {
	err = c.reading(ctx, deadline, func() (err error) {
		msg, err = c.pg.Frontend().Receive()
		return err
	})
	return msg, err
}

// reading calls f, which reads from the connection, as read says.
func (c *Conn) reading(ctx context.Context, deadline time.Time, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn := c.pg.Conn()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	release := interruptible(ctx, conn.SetReadDeadline)
	err := f()
	release()
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errDeadline
	}
	return err
}

// readStream waits for what comes next in the stream, as read does: WAL, which it
// puts into p as far as it has come and p has room, or a message without WAL.
func (c *Conn) readStream(ctx context.Context, deadline time.Time, p []byte) (m Message, msg pgproto3.BackendMessage, err error) {
	err = c.reading(ctx, deadline, func() (err error) {
		if c.in.wal == 0 {
			var ok bool
			if m, ok, err = c.in.nextIsWAL(); err != nil {
				return err
			} else if !ok {
				msg, err = c.pg.Frontend().Receive()
				return err
			}
			c.wal = m
		}
		if c.in.wal == 0 { // a message of no WAL at all
			m = c.wal
			return nil
		}
		n, err := c.in.readWAL(p)
		if err != nil {
			return err
		}
		m = c.wal
		m.Data = p[:n]
		c.wal.WALStart += wal.LSN(n)
		return nil
	})
	return m, msg, err
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
	if c.received < c.serverEnd || c.in.wal > 0 || c.in.end > c.in.at {
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
