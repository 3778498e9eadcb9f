package replication

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/walplex/walplex/sdk/wal"
)

// Error is a failure of a replication connection.
type Error struct {
	Op       string // what was tried, with its LSN, such as "START_REPLICATION 0/3000000 on timeline 1"
	Server   string // host:port or socket; several where several were tried
	SQLSTATE string // empty where the failure is not the server's answer
	Message  string // the server's message and detail, or the network's
	Remedy   string // what to do, empty where nothing but trying again helps

	// Permanent: trying the same again cannot help, somebody has to change something.
	Permanent bool
	// Gap: the server has removed the WAL that was asked for (SQLSTATE 58P01).
	// Permanent as far as this server goes; another source may have it.
	Gap bool
	// Ahead: the start lies beyond what this server has flushed. On a standby
	// this is transient, it may be behind; on a primary it is permanent.
	Ahead bool
	// SlotActive: another connection uses the slot (55006). Transient: after a
	// kill -9 of its client the server may need a while to notice.
	SlotActive bool
	// NoRoom: max_wal_senders, or max_connections, are in use (53300).
	NoRoom bool
	// ServerEnds: the server ends this connection or takes none, because it shuts down,
	// has crashed or starts (57P01 to 57P03). Transient.
	ServerEnds bool
	// SlotExists: the slot to be made is there already (42710).
	SlotExists bool
	// Timeout: the server was silent for Config.ReceiverTimeout. Transient.
	Timeout bool

	cause error // the context's error, where that ended it; nothing else, since other errors may hold secrets
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Server != "" {
		fmt.Fprintf(&b, " (server %s)", e.Server)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.SQLSTATE != "" {
		fmt.Fprintf(&b, " (SQLSTATE %s)", e.SQLSTATE)
	}
	if e.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(e.Remedy)
	}
	return b.String()
}

// Unwrap is context.Canceled or context.DeadlineExceeded where the caller's
// context ended what was tried, else nil.
func (e *Error) Unwrap() error { return e.cause }

// SQLSTATEs that are told apart (utils/errcodes.txt).
const (
	codeFeatureNotSupported   = "0A000"
	codeInvalidAuthorization  = "28000"
	codeInvalidPassword       = "28P01"
	codeInvalidCatalogName    = "3D000"
	codeInsufficientPrivilege = "42501"
	codeInvalidName           = "42602"
	codeUndefinedObject       = "42704"
	codeDuplicateObject       = "42710"
	codeTooManyConnections    = "53300"
	codeConfigurationLimit    = "53400"
	codeObjectNotInState      = "55000"
	codeObjectInUse           = "55006"
	codeAdminShutdown         = "57P01"
	codeCrashShutdown         = "57P02"
	codeCannotConnectNow      = "57P03"
	codeUndefinedFile         = "58P01"
	codeInternalError         = "XX000"
)

// permanentClasses are the first two characters of the SQLSTATEs that mean a
// mistake in what was asked, not a state of the server.
var permanentClasses = []string{"0A", "22", "28", "3D", "42"}

// lsnPattern finds LSNs in a message of any language.
var lsnPattern = regexp.MustCompile(`\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b`)

// phase is where in a connection's life the server has failed something.
type phase uint8

const (
	inCommand phase = iota
	starting        // START_REPLICATION and nothing streamed yet
	inStream
)

// serverError makes an [*Error] of the server's answer.
func serverError(op, server string, pg *pgconn.PgError, at phase, inRecovery bool) *Error {
	e := &Error{Op: op, Server: server, SQLSTATE: pg.Code, Message: pg.Message}
	if pg.Detail != "" {
		e.Message += " (" + pg.Detail + ")"
	}
	for _, class := range permanentClasses {
		e.Permanent = e.Permanent || strings.HasPrefix(pg.Code, class)
	}
	e.Remedy = remedy(pg.Code)
	switch pg.Code {
	case codeInvalidAuthorization:
		// The words are the server's language; without them the remedy is the usual one.
		switch {
		case strings.Contains(pg.Message, "pg_hba.conf"):
			e.Remedy = remedyHBA
		case strings.Contains(pg.Message, "client certificate"):
			e.Remedy = remedyClientCert
		}
	case codeUndefinedObject:
		if at == starting {
			e.Remedy = remedyNoSlot // else it is another kind of object
		}
	case codeDuplicateObject:
		e.SlotExists = true
	case codeObjectInUse:
		e.SlotActive = true
	case codeConfigurationLimit, codeObjectNotInState:
		e.Permanent = true
	case codeAdminShutdown, codeCrashShutdown, codeCannotConnectNow:
		e.ServerEnds = true
	case codeTooManyConnections:
		e.NoRoom = true
		// "number of requested standby connections exceeds max_wal_senders (currently 0)"
		if strings.Contains(pg.Message, "max_wal_senders") && strings.Contains(pg.Message, " 0)") {
			e.Permanent = true
			e.Remedy = "set wal_level to replica and max_wal_senders above 0 and restart the server"
		}
	case codeUndefinedFile:
		if at != inCommand { // there it is another file
			e.Gap, e.Permanent, e.Remedy = true, true, remedyGap
		}
	case codeInternalError:
		// walsender.c gives no code of its own to a bad starting point.
		if at == starting {
			e.startPoint(pg.Message, inRecovery)
		}
	}
	return e
}

// startPoint tells apart walsender.c's two complaints about where to start. It
// looks at the LSNs, because the words are in the server's language.
func (e *Error) startPoint(message string, inRecovery bool) {
	lsns := lsnPattern.FindAllString(message, -1)
	if len(lsns) == 2 {
		asked, err1 := wal.ParseLSN(lsns[0])
		has, err2 := wal.ParseLSN(lsns[1])
		if err1 == nil && err2 == nil && asked > has {
			e.Ahead, e.Permanent = true, !inRecovery
			e.Remedy = remedyAhead
			return
		}
	}
	e.Permanent, e.Remedy = true, remedyHistory
}

// contextError makes an [*Error] of the end of the caller's context.
func contextError(op, server string, ctx context.Context) *Error {
	return &Error{Op: op, Server: server, Message: context.Cause(ctx).Error(), cause: ctx.Err()}
}

// networkError makes an [*Error] of a failed read or write.
func networkError(op, server string, err error) *Error {
	e := &Error{Op: op, Server: server, Message: "the connection is lost: " + err.Error()}
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		e.Timeout = true
		e.Message = "the server does not take what is sent to it"
	}
	return e
}
