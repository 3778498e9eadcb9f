package pageclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
)

// TCPPrefix begins the address of a sink that is reached by TCP, as in
// tcp://host:port.
const TCPPrefix = "tcp://"

// TLSOptions are the files of a client, in PEM. The sink answers only clients that
// have a certificate of the authority that it is configured with.
type TLSOptions struct {
	CA         string // file of the authority that the sink's certificate is of
	Cert       string // file of our certificate, and those between it and its authority
	Key        string // file of our certificate's key
	ServerName string // name in the sink's certificate; "": the host of the address
}

// none says that nothing is given.
func (o *TLSOptions) none() bool { return *o == TLSOptions{} }

// DialFrom is [DialTLS] for an address that begins with [TCPPrefix], and else
// [Dial]: what a user names.
func DialFrom(from string, o TLSOptions) (*Client, error) {
	address, tcp := strings.CutPrefix(from, TCPPrefix)
	switch {
	case from == "":
		return nil, errors.New("name the socket of the page_cache sink, which is pages.sock in its directory unless configured, or tcp://HOST:PORT")
	case tcp:
		return DialTLS(address, o)
	case !o.none():
		return nil, fmt.Errorf("%s is a Unix socket, which has no TLS: name tcp://HOST:PORT, or leave the files of TLS out", from)
	}
	return Dial(from)
}

// DialTLS names host:port and what is needed for TLS. It reads the files, and
// connects with the first call.
func DialTLS(address string, o TLSOptions) (*Client, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not HOST:PORT: %w", address, err)
	}
	config, err := o.config(host)
	if err != nil {
		return nil, err
	}
	c := &Client{where: TCPPrefix + address, hint: "look at listen_tcp and the tls settings of the sink, and at the files given here"}
	dialer := tls.Dialer{Config: config}
	return c, c.open(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return &watched{Conn: conn, client: c}, nil
	})
}

func (o *TLSOptions) config(host string) (*tls.Config, error) {
	for _, f := range []struct{ name, path string }{{"the authority's certificate", o.CA}, {"a certificate of ours", o.Cert}, {"its key", o.Key}} {
		if f.path == "" {
			return nil, fmt.Errorf("pages are served over TCP only with TLS on both sides: %s is missing", f.name)
		}
	}
	pem, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", o.CA)
	}
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", o.Cert, o.Key, err)
	}
	name := o.ServerName
	if name == "" {
		name = host
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name,
		// Not Certificates: of those none is sent that the server's authorities did not
		// sign, and then the server can only say that there was none.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
		NextProtos:           []string{"h2"},
	}, nil
}

// watched notes why the sink has refused us: with TLS 1.3 it says so after the
// client takes the handshake for done.
type watched struct {
	net.Conn
	client *Client
	heard  atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(true)
	}
	var op *net.OpError
	if err != nil && !w.heard.Load() && errors.As(err, &op) && op.Op == "remote error" {
		w.client.note(fmt.Errorf("it has refused our certificate: %w", op.Err))
	}
	return n, err
}
