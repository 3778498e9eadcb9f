package replication

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// DefaultReceiverTimeout is how long a server may be silent, PostgreSQL's own
// default of wal_receiver_timeout.
const DefaultReceiverTimeout = 60 * time.Second

// Config says where and how to connect.
type Config struct {
	DSN string // libpq's connection string; see ParseDSN

	// ApplicationName is used where neither the DSN nor PGAPPNAME has one;
	// default DefaultApplicationName.
	ApplicationName string

	// ReceiverTimeout is how long the server may be silent while streaming, and
	// how long it may take to answer a command; default DefaultReceiverTimeout.
	ReceiverTimeout time.Duration
}

func (c Config) String() string { return Redact(c.DSN) }

// GoString is String: %#v must not show the password either.
func (c Config) GoString() string { return c.String() }

// LogValue is String, for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Connect logs in to a walsender: to the first of the string's servers that
// accepts.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	info, err := ParseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = DefaultApplicationName
	}
	if cfg.ReceiverTimeout <= 0 {
		cfg.ReceiverTimeout = DefaultReceiverTimeout
	}
	var made frontends
	config := info.replicationConfig(cfg.ApplicationName)
	config.BuildFrontend = made.build
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectError(ctx, info, err)
	}
	return newConn(pg, made.of(pg), info, cfg)
}

// opConnect is the Op of an error in connecting.
const opConnect = "connect"

// connectError makes one [*Error] of the attempts with all servers. It is
// permanent only if each of them is.
func connectError(ctx context.Context, info *ConnInfo, err error) *Error {
	if ctx.Err() != nil {
		return contextError(opConnect, strings.Join(info.Servers(), ", "), ctx)
	}
	e := &Error{Op: opConnect, Server: strings.Join(info.Servers(), ", "), Permanent: true}
	var texts []string
	for _, attempt := range attempts(err) {
		one := attemptError(attempt)
		if !slices.Contains(texts, one.Message) {
			texts = append(texts, one.Message)
		}
		e.Permanent = e.Permanent && one.Permanent
		if one.SQLSTATE != "" || e.SQLSTATE == "" {
			e.SQLSTATE, e.Remedy = one.SQLSTATE, one.Remedy
			e.NoRoom, e.ServerEnds = one.NoRoom, one.ServerEnds
		}
	}
	e.Message = strings.Join(texts, "; ")
	return e
}

// attempts takes pgconn's error apart: it joins one error a try. A server that
// has no TLS and was tried again without it (sslmode=prefer) counts once.
func attempts(err error) []error {
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		err = connectErr.Unwrap()
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	all := joined.Unwrap()
	last := all[len(all)-1]
	tried := slices.DeleteFunc(slices.Clone(all[:len(all)-1]), func(err error) bool {
		return strings.HasSuffix(err.Error(), serverRefusedTLS)
	})
	return append(tried, last)
}

// serverRefusedTLS is pgconn's text where the server answers no to SSLRequest.
const serverRefusedTLS = "server refused TLS connection"

// attemptError judges one try.
func attemptError(err error) *Error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return serverError(opConnect, "", pg, inCommand, false)
	}
	e := &Error{Message: err.Error()}
	e.Permanent, e.Remedy = judge(err)
	return e
}

// judge tells the failures that go away by themselves from those of the
// configuration. What is neither the network's nor the server's is ours.
func judge(err error) (permanent bool, remedy string) {
	var (
		certErr *tls.CertificateVerificationError
		hostErr x509.HostnameError
		authErr x509.UnknownAuthorityError
		badErr  x509.CertificateInvalidError
		header  tls.RecordHeaderError
		op      *net.OpError
		netErr  net.Error
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &certErr), errors.As(err, &hostErr), errors.As(err, &authErr), errors.As(err, &badErr), errors.As(err, &header):
		return true, remedyTLS
	case errors.As(err, &op) && op.Op == "remote error": // a TLS alert: the server does not like our certificate, or our TLS version
		return true, remedyClientCert
	case strings.HasSuffix(err.Error(), serverRefusedTLS):
		return true, remedyNoTLS
	case errors.Is(err, pgconn.ErrStandbyConnection), errors.Is(err, pgconn.ErrPrimaryConnection),
		errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection):
		return false, "no server has the role that target_session_attrs asks for"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return false, "check that the server runs and listens there"
	case errors.As(err, &netErr), errors.As(err, &errno), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, context.DeadlineExceeded):
		return false, ""
	}
	return true, ""
}
