package replication

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// DefaultApplicationName is what pg_stat_replication shows where neither the
// connection string nor PGAPPNAME says otherwise. It matters: a name that
// synchronous_standby_names lists makes the client a synchronous standby.
const DefaultApplicationName = "walplex"

// maxMessage bounds one message of the server, in bytes: XLogData has at most
// 16 WAL pages of at most 64 KiB (MAX_SEND_SIZE of walsender.c), a timeline's
// history a line a promotion.
const maxMessage = 4 << 20

// ConnInfo is a connection string that was read: libpq's conninfo with what the
// environment, the service file and the password file add.
type ConnInfo struct {
	config *pgconn.Config
}

// ParseDSN reads a connection string: a URL or keywords and values, as libpq
// does, including the PG… environment variables, service and password files, and
// sslmode up to verify-full with its certificates. It connects to nothing. The
// error never contains the password.
//
// As for pg_receivewal, a password file's entries for the database "replication"
// are those that count where the string names no database.
func ParseDSN(dsn string) (*ConnInfo, error) {
	config, err := parseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if config.Database == "" {
		if config, err = parseConfig(withDatabase(dsn, "replication")); err != nil {
			return nil, err
		}
	}
	return &ConnInfo{config}, nil
}

// String names the servers and the role, never the password.
func (c *ConnInfo) String() string {
	return fmt.Sprintf("%s as %s", strings.Join(c.Servers(), ", "), c.config.User)
}

// GoString is String: %#v must not show the password either.
func (c *ConnInfo) GoString() string { return c.String() }

// Servers lists the servers that are tried, each as host:port or the path of its
// socket, in order.
func (c *ConnInfo) Servers() []string {
	servers := []string{address(c.config.Host, c.config.Port)}
	for _, f := range c.config.Fallbacks {
		if a := address(f.Host, f.Port); !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
	return servers
}

func address(host string, port uint16) string {
	_, addr := pgconn.NetworkAddress(host, port)
	return addr
}

// ApplicationName is the name that the string or the environment sets, empty for none.
func (c *ConnInfo) ApplicationName() string { return c.config.RuntimeParams["application_name"] }

// parseConfig reads the string by pgconn's rules and makes up for what those
// leave out of libpq's.
func parseConfig(dsn string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError(dsn, parseReason(dsn, err))
	}
	info := ConnInfo{config}
	if slices.ContainsFunc(info.Servers(), func(s string) bool { return strings.ContainsRune(s, '@') && !strings.HasPrefix(s, "/") }) {
		return nil, dsnError(dsn, malformed(dsn)) // a host that may be the rest of a password
	}
	params := config.RuntimeParams
	if name, ok := params["fallback_application_name"]; ok {
		delete(params, "fallback_application_name")
		if params["application_name"] == "" {
			params["application_name"] = name
		}
	}
	for name := range params {
		if !paramName.MatchString(name) {
			return nil, dsnError(dsn, malformed(dsn))
		}
		if slices.Contains(unsupportedParams, name) {
			return nil, dsnError(dsn, "the parameter "+name+" is not supported: leave it out")
		}
		if slices.Contains(harmlessParams, name) {
			delete(params, name)
		}
	}
	delete(params, "replication") // ours to set
	if config.ValidateConnect, err = sessionAttrs(config.ValidateConnect); err != nil {
		return nil, dsnError(dsn, err.Error())
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(maxMessage)
		return f
	}
	return config, nil
}

var paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)

// Parameters of libpq's that pgconn would send to the server as if they were the
// server's. Those whose absence changes nothing that a user relies on are left
// out; those that make a connection safer must not vanish silently.
var (
	harmlessParams = []string{"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "gssencmode", "gsslib", "gssdelegation", "sslcompression", "load_balance_hosts"}
	unsupportedParams = []string{"hostaddr", "sslcrl", "sslcrldir", "requirepeer", "requiressl",
		"ssl_min_protocol_version", "ssl_max_protocol_version", "scram_client_key", "scram_server_key",
		"oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"}
)

// withDatabase adds a database to a string that names none.
func withDatabase(dsn, database string) string {
	switch {
	case !isURL(dsn):
		return dsn + " dbname=" + database
	case strings.Contains(dsn, "?"):
		return dsn + "&dbname=" + database
	default:
		return dsn + "?dbname=" + database
	}
}

// dsnError is the error of a connection string that cannot be used.
func dsnError(dsn, reason string) *Error {
	return &Error{
		Op:        "read the connection string " + Redact(dsn),
		Message:   reason,
		Permanent: true,
	}
}

// parseReason is what pgconn has to say about the string, unless that may hold
// a part of a password: where the string's structure is broken, nobody knows
// which part of it is the password.
func parseReason(dsn string, err error) string {
	const broken = "failed to parse as"
	var parseErr *pgconn.ParseConfigError
	if !errors.As(err, &parseErr) {
		return "it cannot be read"
	}
	text := err.Error()
	reason := text[strings.LastIndex(text, "`: ")+1:]
	reason = strings.TrimPrefix(reason, ": ")
	if strings.HasPrefix(reason, broken) || holdsSecret(dsn, reason) {
		return malformed(dsn)
	}
	return reason
}

// malformed says how a connection string is written, and nothing of this one.
func malformed(dsn string) string {
	if isURL(dsn) {
		return "it is not a URL of the form postgresql://user:password@host:port/database?parameter=value; write @ : / ? & = and % in a user or password as %40 %3A %2F %3F %26 %3D and %25"
	}
	return "it is not of the form keyword=value …; put values with spaces between single quotes, and a backslash before a quote or backslash in them"
}

// holdsSecret reports whether a text has a part of what may be the password.
func holdsSecret(dsn, text string) bool {
	redacted := Redact(dsn)
	for _, word := range strings.FieldsFunc(dsn, func(r rune) bool { return strings.ContainsRune(" \t\n@:/?&='\\", r) }) {
		if strings.Contains(redacted, word) {
			continue
		}
		plain, err := url.PathUnescape(word)
		if err != nil {
			plain = word
		}
		if strings.Contains(text, word) || strings.Contains(text, plain) {
			return true
		}
	}
	return false
}

// defaultConnectTimeout bounds an attempt to connect to one server where the
// connection string has no connect_timeout.
const defaultConnectTimeout = 30 * time.Second

// replicationConfig is a copy for a walsender connection.
func (c *ConnInfo) replicationConfig(applicationName string) *pgconn.Config {
	config := c.config.Copy()
	config.RuntimeParams["replication"] = "true"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = applicationName
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = defaultConnectTimeout
	}
	return config
}

// ordinaryConfig is a copy for an ordinary connection to a database.
func (c *ConnInfo) ordinaryConfig(database, applicationName string) *pgconn.Config {
	config := c.replicationConfig(applicationName)
	delete(config.RuntimeParams, "replication")
	config.Database = database
	return config
}
