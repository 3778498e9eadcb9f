package postgres

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options describe a cluster to make. The zero value is a good one.
type Options struct {
	Install Install // zero: the one that Find finds
	Dir     string  // where the cluster's own directory is made; default /tmp. The server's user must be able to pass through it.

	SegmentSizeMB int  // initdb --wal-segsize, MiB; default PostgreSQL's 16
	Checksums     bool // data checksums; off by default in every major

	Conf map[string]string // parameters of postgresql.conf, unquoted; they win over the defaults given here
	HBA  []string          // the whole of pg_hba.conf, a line each; default: trust for everybody, replication included

	TCP bool // listen on 127.0.0.1 as well, on a free port
	TLS *TLS // needs TCP: PostgreSQL has no TLS on Unix sockets
}

// TLS is what the server needs to offer TLS, as PEM.
type TLS struct {
	Certificate []byte // ssl_cert_file
	Key         []byte // ssl_key_file
	ClientCA    []byte // ssl_ca_file; may be empty
}

// Limits of what is done here.
const (
	// maxSocketPath is sizeof(sockaddr_un.sun_path) without the closing NUL, in bytes.
	maxSocketPath = 107
	// socketPort names the socket; there is one cluster a directory, so it never clashes.
	socketPort = 5432
	// portAttempts is how often a free TCP port is looked for: another process may take it first.
	portAttempts = 10
)

// conf is the content that is put after initdb's postgresql.conf.
func (c *Cluster) conf() string {
	conf := map[string]string{
		"listen_addresses":        "",
		"port":                    strconv.Itoa(c.port),
		"unix_socket_directories": c.dir,
		"fsync":                   "off",
		"logging_collector":       "off",
		"log_destination":         "stderr",
		"lc_messages":             "C",
	}
	if c.opt.TCP {
		conf["listen_addresses"] = "127.0.0.1"
	}
	if c.opt.TLS != nil {
		conf["ssl"] = "on"
		conf["ssl_cert_file"] = "server.crt"
		conf["ssl_key_file"] = "server.key"
		if len(c.opt.TLS.ClientCA) > 0 {
			conf["ssl_ca_file"] = "root.crt"
		}
	}
	maps.Copy(conf, c.opt.Conf)
	var b strings.Builder
	b.WriteString("\n# set by package postgres\n")
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(conf[name], "'", "''"))
	}
	return b.String()
}

// writeTLS puts the certificates into the data directory.
func (c *Cluster) writeTLS() error {
	if c.opt.TLS == nil {
		return nil
	}
	for name, content := range map[string][]byte{
		"server.crt": c.opt.TLS.Certificate,
		"server.key": c.opt.TLS.Key,
		"root.crt":   c.opt.TLS.ClientCA,
	} {
		if err := c.user.writeFile(filepath.Join(c.DataDir(), name), content); err != nil {
			return err
		}
	}
	return nil
}
