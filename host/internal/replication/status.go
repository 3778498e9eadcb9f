package replication

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/walplex/walplex/sdk/wal"
)

// Status is what a standby reports. Each LSN is the end of what is so, 0 for
// nothing: the server shows NULL, and a flush of 0 moves no slot.
type Status struct {
	Write wal.LSN // received and written
	Flush wal.LSN // survives a power failure here; moves the slot's restart_lsn, releases synchronous commits
	Apply wal.LSN // visible to readers; releases synchronous_commit = remote_apply

	ReplyRequested bool // ask the server for a keepalive at once
}

// statusSize is the length of a status inside its CopyData, bytes.
const statusSize = 34

// postgresEpoch is 2000-01-01 00:00 UTC in microseconds of Unix time
// (datatype/timestamp.h: POSTGRES_EPOCH_JDATE − UNIX_EPOCH_JDATE days).
const postgresEpoch = 946684800 * 1000 * 1000

// appendStatus encodes CopyData with a standby status inside, as the package
// comment draws it. What is zero stays zero.
func appendStatus(b []byte, s Status, now time.Time) []byte {
	b = append(b, 'd')
	b = binary.BigEndian.AppendUint32(b, 4+statusSize)
	b = append(b, pglogrepl.StandbyStatusUpdateByteID)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Write))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Flush))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Apply))
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMicro()-postgresEpoch))
	if s.ReplyRequested {
		return append(b, 1)
	}
	return append(b, 0)
}

// SendStatus reports progress to the server, now: nothing is held back. It may
// be called from any goroutine, also while Receive waits. It fails when the
// connection is not streaming, or when the server takes nothing for
// ReceiverTimeout or until ctx ends; after that the connection is lost.
func (c *Conn) SendStatus(ctx context.Context, s Status) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.sendStatus(ctx, s)
}

// sendStatus needs wmu.
func (c *Conn) sendStatus(ctx context.Context, s Status) error {
	const op = "send the status"
	if !c.copying {
		return &Error{Op: op, Server: c.server, Message: "the connection is not streaming"}
	}
	c.wbuf = appendStatus(c.wbuf[:0], s, time.Now())
	if err := c.write(ctx, op, c.wbuf); err != nil {
		return err
	}
	s.ReplyRequested = false
	c.last = s
	return nil
}

// ping asks the server for a sign of life by repeating the last status. Where
// another goroutine is writing at this moment, that is a status of its own and
// none is added.
func (c *Conn) ping(ctx context.Context) error {
	if !c.wmu.TryLock() {
		return nil
	}
	defer c.wmu.Unlock()
	s := c.last
	s.ReplyRequested = true
	return c.sendStatus(ctx, s)
}
