package replication

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/walplex/walplex/sdk/wal"
)

// StartOptions say what to stream.
type StartOptions struct {
	Slot     string // empty: without a slot
	LSN      wal.LSN
	Timeline wal.TimelineID // 0: the server's current one
}

// TimelineSwitch says that a timeline has ended and which follows.
type TimelineSwitch struct {
	NextTimeline wal.TimelineID
	SwitchLSN    wal.LSN // where the next timeline begins: may lie before WAL that was received already
}

// Kind is what a [Message] is.
type Kind uint8

// The kinds of messages.
const (
	XLogData  Kind = iota + 1 // WAL
	Keepalive                 // a sign of life, perhaps with a wish for a status
	End                       // the server has ended the stream: call EndCopy. One that stops may also just break the connection
)

func (k Kind) String() string {
	switch k {
	case XLogData:
		return "XLogData"
	case Keepalive:
		return "keepalive"
	case End:
		return "end"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Message is one message of the stream.
type Message struct {
	Kind           Kind
	WALStart       wal.LSN   // of Data's first byte; XLogData only
	ServerWALEnd   wal.LSN   // the server's end of WAL when it sent this; XLogData and Keepalive
	ServerTime     time.Time // the server's clock when it sent this
	ReplyRequested bool      // send a status at once; Keepalive only
	Data           []byte    // WAL, not aligned to records or pages, at most 128 KiB; borrowed until the next Receive
}

// opStart begins the Op of an error in starting a stream.
const opStart = "START_REPLICATION"

// command is the command of the replication grammar, and its description.
func (o StartOptions) command() (sql, op string, err error) {
	sql, op = opStart, opStart
	if o.Slot != "" {
		slot, err := quoteSlot(o.Slot)
		if err != nil {
			return "", op, err
		}
		sql += " SLOT " + slot
	}
	sql += " PHYSICAL " + o.LSN.String()
	op += " " + o.LSN.String()
	if o.Timeline != 0 {
		sql += " TIMELINE " + strconv.FormatUint(uint64(o.Timeline), 10)
		op = fmt.Sprintf("%s on timeline %d", op, o.Timeline)
	}
	if o.Slot != "" {
		op += " with slot " + o.Slot
	}
	return sql, op, nil
}

// StartPhysical starts streaming at an LSN. Where the LSN is exactly the end of
// the timeline there is nothing to stream: it answers the switch, and the
// connection takes commands. Otherwise it answers nil and Receive follows.
//
// A start ahead of the server's flush position is found only by the first
// Receive, since the server says so after it has begun to stream.
func (c *Conn) StartPhysical(ctx context.Context, o StartOptions) (*TimelineSwitch, error) {
	sql, op, err := o.command()
	if err != nil {
		return nil, c.badSlotName(op, err)
	}
	if !c.known {
		if _, err := c.identify(ctx, "IDENTIFY_SYSTEM"); err != nil {
			return nil, err
		}
	}
	var sw *TimelineSwitch
	err = c.command(ctx, op, func(ctx context.Context) error {
		query, err := (&pgproto3.Query{String: sql}).Encode(nil)
		if err != nil {
			return err
		}
		if err := c.write(ctx, op, query); err != nil {
			return c.lost(err)
		}
		c.op, c.begun = op, false
		sw, err = c.awaitCopyBoth(ctx)
		return err
	})
	return sw, err
}

// awaitCopyBoth reads the answer to START_REPLICATION.
func (c *Conn) awaitCopyBoth(ctx context.Context) (*TimelineSwitch, error) {
	var a answer
	for {
		msg, err := c.read(ctx, time.Time{}) // the context has a deadline
		if err != nil {
			lost := c.lost(err)
			if ctx.Err() != nil {
				return nil, ctx.Err() // command tells whose end it was
			}
			return nil, lost
		}
		if _, ok := msg.(*pgproto3.CopyBothResponse); ok {
			c.begin()
			return nil, nil
		}
		done, err := c.take(&a, msg)
		switch {
		case err != nil:
			return nil, err
		case done && a.err != nil:
			return nil, a.err
		case done && a.sw == nil:
			return nil, c.protocolError(c.op, errUnexpectedAnswer)
		case done:
			return a.sw, nil
		}
	}
}

// begin makes the connection a stream.
func (c *Conn) begin() {
	c.state, c.waiting, c.pinged, c.begun = streaming, time.Time{}, false, false
	c.in.past = false
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.copying, c.last = true, Status{}
}

// answer gathers what the server says from the end of a stream, or from a
// command, up to ReadyForQuery.
type answer struct {
	sw  *TimelineSwitch
	err *Error
}

// take adds one message to the answer; done says that the server is ready for
// the next command. An error that ends the connection is returned.
func (c *Conn) take(a *answer, msg pgproto3.BackendMessage) (done bool, err error) {
	switch m := msg.(type) {
	case *pgproto3.ErrorResponse:
		pg := pgconn.ErrorResponseToPgError(m)
		at := starting
		if c.begun {
			at = inStream
		}
		e := serverError(c.op, c.server, pg, at, c.inRecovery())
		if pg.SeverityUnlocalized != "ERROR" {
			return false, c.lost(e) // FATAL: the server closes the connection
		}
		a.err = e
	case *pgproto3.DataRow:
		a.sw, err = parseSwitch(m.Values)
		if err != nil {
			return false, c.lost(c.protocolError(c.op, err))
		}
	case *pgproto3.ReadyForQuery:
		c.idle()
		return true, nil
	case *pgproto3.RowDescription, *pgproto3.CommandComplete, *pgproto3.CopyDone, *pgproto3.CopyData,
		*pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
	default:
		return false, c.lost(c.protocolError(c.op, fmt.Errorf("unexpected message %T", msg)))
	}
	return false, nil
}

// parseSwitch reads the row (next_tli, next_tli_startpos).
func parseSwitch(row [][]byte) (*TimelineSwitch, error) {
	if len(row) != 2 {
		return nil, errUnexpectedAnswer
	}
	tli, err := strconv.ParseUint(string(row[0]), 10, 32)
	if err != nil || tli == 0 {
		return nil, fmt.Errorf("the next timeline is %q", row[0])
	}
	lsn, err := wal.ParseLSN(string(row[1]))
	if err != nil {
		return nil, err
	}
	return &TimelineSwitch{wal.TimelineID(tli), lsn}, nil
}

// idle makes the connection ready for commands.
func (c *Conn) idle() {
	c.stopCopying()
	c.state = idle
	_ = c.pg.Conn().SetDeadline(time.Time{}) // fails only on a closed connection, as the next command will
}

func (c *Conn) stopCopying() {
	c.wmu.Lock()
	c.copying = false
	c.wmu.Unlock()
}

// lost gives the connection up and makes an [*Error] of why.
func (c *Conn) lost(err error) *Error {
	c.stopCopying()
	c.state = closed
	_ = c.pg.Conn().Close() // it is lost already; err says why
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	return networkError(c.op, c.server, err)
}

// Receive waits for the next message of the stream. When ctx ends it returns
// ctx.Err() itself, and the stream is as good as before. Any other error is an
// [*Error] and ends the stream: Close the connection, or, where the server has
// only ended the stream (such as a Gap), StartPhysical again.
//
// It also watches over the server's silence: see the package comment.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	if c.spare == nil {
		c.spare = make([]byte, maxWAL)
	}
	return c.ReceiveInto(ctx, c.spare)
}

// maxWAL is how much WAL a message brings at most, in bytes
// (replication/walsender.c: MAX_SEND_SIZE).
const maxWAL = 128 << 10

// ReceiveInto is Receive, with memory for the WAL: Data begins where p does. It
// brings as much of the WAL that the server sends as has come and p, which must not
// be empty, has room for.
func (c *Conn) ReceiveInto(ctx context.Context, p []byte) (Message, error) {
	if c.state != streaming {
		return Message{}, &Error{Op: "receive", Server: c.server, Message: "the connection is not streaming", Permanent: true}
	}
	if c.waiting.IsZero() {
		c.waiting, c.pinged = time.Now(), false
	}
	for {
		limit := c.cfg.ReceiverTimeout
		if !c.pinged {
			limit /= 2
		}
		m, msg, err := c.readStream(ctx, c.waiting.Add(limit), p)
		switch {
		case err == nil:
			ok := msg == nil
			if !ok {
				m, ok, err = c.message(ctx, msg)
			}
			if ok || err != nil {
				c.waiting, c.begun = time.Time{}, true
				c.received, c.serverEnd = 0, 0
				if m.Kind == XLogData {
					c.received, c.serverEnd = m.WALStart+wal.LSN(len(m.Data)), m.ServerWALEnd
				}
				return m, err
			}
			c.waiting, c.pinged = time.Now(), false // a notice is a sign of life too
		case errors.Is(err, errDeadline) && c.pinged:
			return Message{}, c.lost(c.silence(c.op))
		case errors.Is(err, errDeadline):
			c.pinged = true
			if err := c.ping(ctx); err != nil && ctx.Err() == nil {
				return Message{}, c.lost(err)
			}
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return Message{}, err
		default:
			return Message{}, c.lost(err)
		}
	}
}

// message makes a [Message] of a protocol message; false for one that does not
// concern the stream.
func (c *Conn) message(ctx context.Context, msg pgproto3.BackendMessage) (Message, bool, error) {
	switch m := msg.(type) {
	case *pgproto3.CopyData:
		out, err := parseCopyData(m.Data)
		if err != nil {
			return Message{}, false, c.lost(c.protocolError(c.op, err))
		}
		return out, true, nil
	case *pgproto3.CopyDone:
		c.state = serverDone
		return Message{Kind: End}, true, nil
	case *pgproto3.CommandComplete:
		// A walsender that stops says COPY 0 without a CopyDone (WalSndDone).
		c.state = shutDown
		return Message{Kind: End}, true, nil
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		return Message{}, false, nil
	default:
		return Message{}, false, c.streamError(ctx, msg)
	}
}

// streamError reads on after an error in the stream up to ReadyForQuery, so that
// the connection takes commands again.
func (c *Conn) streamError(ctx context.Context, msg pgproto3.BackendMessage) error {
	c.stopCopying()
	var a answer
	for {
		done, err := c.take(&a, msg)
		if err != nil {
			return err
		}
		if a.err == nil {
			return c.lost(c.protocolError(c.op, fmt.Errorf("unexpected message %T in the stream", msg)))
		}
		if done {
			return a.err
		}
		if msg, err = c.read(ctx, time.Now().Add(c.cfg.ReceiverTimeout)); err != nil {
			_ = c.lost(err) // the server's own error says more
			return a.err
		}
	}
}

// parseWALHeader reads the fields of an XLogData before its WAL, 24 bytes.
func parseWALHeader(b []byte) Message {
	return Message{Kind: XLogData, WALStart: wal.LSN(binary.BigEndian.Uint64(b)), ServerWALEnd: wal.LSN(binary.BigEndian.Uint64(b[8:])),
		ServerTime: time.UnixMicro(int64(binary.BigEndian.Uint64(b[16:])) + postgresEpoch)}
}

// parseCopyData reads what is inside a CopyData of the server's that has no WAL.
func parseCopyData(b []byte) (Message, error) {
	if len(b) == 0 {
		return Message{}, errors.New("a message of the stream is empty")
	}
	switch b[0] {
	case pglogrepl.XLogDataByteID: // a whole one goes another way
		return Message{}, fmt.Errorf("a message with WAL has only %d bytes", len(b))
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		k, err := pglogrepl.ParsePrimaryKeepaliveMessage(b[1:])
		return Message{Kind: Keepalive, ServerWALEnd: wal.LSN(k.ServerWALEnd), ServerTime: k.ServerTime, ReplyRequested: k.ReplyRequested}, err
	}
	return Message{}, fmt.Errorf("a message of the stream has the unknown type %q", b[0])
}

// EndCopy ends the stream: it answers the server's End, or ends it from our side
// and throws away what is still under way. It answers the next timeline where
// the server told one, else nil; the connection then takes commands, also a new
// StartPhysical. After the End of a server that stops, it fails with a transient
// error: there is nothing left to talk to. Send the final status before it.
func (c *Conn) EndCopy(ctx context.Context) (*TimelineSwitch, error) {
	switch c.state {
	case streaming, serverDone:
	case shutDown:
		return nil, c.lost(&Error{Op: c.op, Server: c.server, SQLSTATE: codeAdminShutdown, Message: "the server has ended the stream because it shuts down"})
	default:
		return nil, &Error{Op: "end the stream", Server: c.server, Message: "the connection is not streaming", Permanent: true}
	}
	copyDone, err := (&pgproto3.CopyDone{}).Encode(nil)
	if err != nil {
		return nil, c.lost(err)
	}
	c.wmu.Lock()
	err = c.write(ctx, c.op, copyDone)
	c.copying = false
	c.wmu.Unlock()
	if err != nil {
		return nil, c.lost(err)
	}
	var a answer
	for {
		msg, err := c.read(ctx, time.Now().Add(c.cfg.ReceiverTimeout))
		switch {
		case errors.Is(err, errDeadline):
			return nil, c.lost(c.silence(c.op))
		case err != nil && ctx.Err() != nil:
			return nil, c.lost(contextError(c.op, c.server, ctx))
		case err != nil:
			return nil, c.lost(err)
		}
		done, err := c.take(&a, msg)
		switch {
		case err != nil:
			return nil, err
		case done && a.err != nil:
			return nil, a.err
		case done:
			return a.sw, nil
		}
	}
}
