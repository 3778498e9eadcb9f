package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/walplex/walplex/sdk/wal"
)

// Conn is a connection to a walsender. One goroutine owns it; only
// [Conn.SendStatus] may be called from others too.
type Conn struct {
	pg      *pgconn.PgConn
	in      *reader // what pg reads from
	wal     Message // of which c.in has WAL left: where that begins
	spare   []byte  // for WAL, where the caller of Receive gives no memory; nil until it is needed
	info    *ConnInfo
	cfg     Config
	server  string
	raw     syscall.RawConn // of the socket below TLS; nil if it has none
	state   state           // the owner's
	waiting time.Time       // since when Receive has waited without a message; zero: it does not wait
	pinged  bool            // a reply was asked for since waiting
	op      string          // of the running stream, for errors
	begun   bool            // the stream has yielded a message

	received, serverEnd wal.LSN // of the last message: the end of its WAL, the server's end of WAL; equal where it is no WAL
	known               bool    // IDENTIFY_SYSTEM was run
	version             int     // server_version_num, 0 unknown

	wmu     sync.Mutex // whoever writes while streaming holds it
	copying bool       // guarded by wmu: a status may be sent
	last    Status     // guarded by wmu: the status sent last, repeated by a ping
	wbuf    []byte     // guarded by wmu

	peek [1]byte // Drained's
}

// state is what the connection is ready for.
type state uint8

const (
	idle       state = iota // commands
	streaming               // Receive, EndCopy
	serverDone              // the server has sent CopyDone; EndCopy answers
	shutDown                // the server has ended the stream because it stops
	backingUp               // BaseBackup alone
	closed                  // nothing
)

func newConn(pg *pgconn.PgConn, in *reader, info *ConnInfo, cfg Config) (*Conn, error) {
	c := &Conn{pg: pg, in: in, info: info, cfg: cfg}
	c.server = pg.Conn().RemoteAddr().String()
	socket := pg.Conn()
	t, secure := socket.(*tls.Conn)
	if secure {
		socket = t.NetConn()
	}
	if s, ok := socket.(syscall.Conn); ok {
		raw, err := s.SyscallConn()
		if err != nil {
			return nil, networkError(opConnect, c.server, err)
		}
		if c.raw = raw; !secure {
			in.raw = raw
		}
	}
	return c, nil
}

// Server is the address of the server: host:port or the path of its socket.
func (c *Conn) Server() string { return c.server }

// System is what a server says of itself.
type System struct {
	SystemID      uint64 // pg_control's system identifier
	Timeline      wal.TimelineID
	FlushLSN      wal.LSN // how far it has WAL to send: flushed, on a standby received or replayed
	ServerVersion int     // server_version_num, such as 150018
	SegmentSize   wal.SegmentSize
	InRecovery    bool // a standby
}

// IdentifySystem asks the server who it is.
func (c *Conn) IdentifySystem(ctx context.Context) (System, error) {
	const op = "IDENTIFY_SYSTEM"
	sys, err := c.identify(ctx, op)
	if err != nil {
		return System{}, err
	}
	version, err := c.show(ctx, "server_version_num")
	if err != nil {
		return System{}, err
	}
	if sys.ServerVersion, err = strconv.Atoi(version); err != nil {
		return System{}, c.protocolError(op, fmt.Errorf("server_version_num is %q", version))
	}
	size, err := c.show(ctx, "wal_segment_size")
	if err != nil {
		return System{}, err
	}
	if sys.SegmentSize, err = parseSegmentSize(size); err != nil {
		return System{}, c.protocolError(op, err)
	}
	// in_hot_standby is reported since PG14, and a walsender may SHOW it.
	standby, err := c.show(ctx, "in_hot_standby")
	if err != nil {
		return System{}, err
	}
	sys.InRecovery = standby == "on"
	c.version = sys.ServerVersion
	return sys, nil
}

// identify runs IDENTIFY_SYSTEM alone. Until PG14 a standby demands it before it
// streams.
func (c *Conn) identify(ctx context.Context, op string) (sys System, err error) {
	err = c.command(ctx, op, func(ctx context.Context) error {
		r, err := pglogrepl.IdentifySystem(ctx, c.pg)
		if err != nil {
			return err
		}
		if sys.SystemID, err = strconv.ParseUint(r.SystemID, 10, 64); err != nil {
			return fmt.Errorf("the system identifier %q is no number", r.SystemID)
		}
		sys.Timeline, sys.FlushLSN = wal.TimelineID(r.Timeline), wal.LSN(r.XLogPos)
		c.known = true
		return nil
	})
	return sys, err
}

// parseSegmentSize reads wal_segment_size as SHOW prints it, in the largest unit
// that has no fraction (utils/misc/guc.c, memory_unit_conversion_table).
func parseSegmentSize(s string) (wal.SegmentSize, error) {
	digits := strings.TrimRight(s, "BkMGT")
	n, err := strconv.ParseUint(digits, 10, 32)
	shift, known := map[string]uint{"": 0, "B": 0, "kB": 10, "MB": 20, "GB": 30}[s[len(digits):]]
	if size := wal.SegmentSize(n << shift); err == nil && known && n<<shift <= wal.MaxSegmentSize && size.Valid() {
		return size, nil
	}
	return 0, fmt.Errorf("wal_segment_size is %q, not a power of two between 1MB and 1GB", s)
}

// show asks for a parameter.
func (c *Conn) show(ctx context.Context, name string) (value string, err error) {
	op := "SHOW " + name
	err = c.command(ctx, op, func(ctx context.Context) error {
		rows, err := c.query(ctx, op, 1)
		if err != nil {
			return err
		}
		value = string(rows[0])
		return nil
	})
	return value, err
}

// query runs a command that answers one row, of at least n columns. A NULL is nil.
func (c *Conn) query(ctx context.Context, command string, n int) ([][]byte, error) {
	results, err := c.pg.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < n {
		return nil, errUnexpectedAnswer
	}
	return results[0].Rows[0], nil
}

var errUnexpectedAnswer = errors.New("the server's answer does not have the expected form")

// serverVersion is server_version_num.
func (c *Conn) serverVersion(ctx context.Context) (int, error) {
	if c.version == 0 {
		s, err := c.show(ctx, "server_version_num")
		if err != nil {
			return 0, err
		}
		if c.version, err = strconv.Atoi(s); err != nil {
			return 0, c.protocolError("SHOW server_version_num", err)
		}
	}
	return c.version, nil
}

// TimelineHistory asks for a timeline's history file: its name and content.
// Timeline 1 has none: its content is empty.
func (c *Conn) TimelineHistory(ctx context.Context, tli wal.TimelineID) (name string, content []byte, err error) {
	if tli <= 1 {
		return wal.HistoryFileName(tli), nil, nil
	}
	err = c.command(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", tli), func(ctx context.Context) error {
		r, err := pglogrepl.TimelineHistory(ctx, c.pg, int32(tli))
		name, content = r.FileName, r.Content
		return err
	})
	return name, content, err
}

// command runs f, which talks to the server through pgconn, and makes an
// [*Error] of its error. The server has ReceiverTimeout to answer.
func (c *Conn) command(ctx context.Context, op string, f func(context.Context) error) error {
	switch c.state {
	case idle:
	case closed:
		return &Error{Op: op, Server: c.server, Message: "the connection is closed"}
	default:
		return &Error{Op: op, Server: c.server, Message: "not while streaming: end the copy first", Permanent: true}
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.ReceiverTimeout)
	defer cancel()
	err := f(bounded)
	if err == nil {
		return nil
	}
	if c.pg.IsClosed() {
		c.state = closed
	}
	var pg *pgconn.PgError
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &pg):
		return serverError(op, c.server, pg, inCommand, c.inRecovery())
	case ctx.Err() != nil:
		return contextError(op, c.server, ctx)
	case bounded.Err() != nil:
		return c.silence(op)
	case c.state == closed:
		return networkError(op, c.server, err)
	}
	return c.protocolError(op, err)
}

// inRecovery is what the server has reported last.
func (c *Conn) inRecovery() bool { return isStandby(c.pg) }

// silence is the error of a server that does not answer.
func (c *Conn) silence(op string) *Error {
	return &Error{Op: op, Server: c.server, Timeout: true,
		Message: fmt.Sprintf("nothing came from the server for %s", c.cfg.ReceiverTimeout)}
}

// protocolError is the error of an answer that PostgreSQL does not give: a
// proxy, or a version that is not known here.
func (c *Conn) protocolError(op string, err error) *Error {
	return &Error{Op: op, Server: c.server, Permanent: true, Message: err.Error(),
		Remedy: "check that this is PostgreSQL 14 or later, without a connection pooler between"}
}

// Close ends the connection. While streaming it does so without CopyDone: call
// EndCopy first for an orderly end.
func (c *Conn) Close(ctx context.Context) error {
	c.wmu.Lock()
	c.copying = false
	c.wmu.Unlock()
	c.state = closed
	_ = c.pg.Conn().SetDeadline(time.Time{}) // fails only on a closed connection
	if err := c.pg.Close(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return networkError("close", c.server, err)
	}
	return nil
}
