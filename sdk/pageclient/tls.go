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
	"time"
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
		g, err := greeted(ctx, conn)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return g, nil
	})
}

// Limits of a greeting.
const (
	greetingTime = 20 * time.Second // unless the context ends before
	greetingSize = 4096             // bytes that are read at once
)

// greeting is a connection whose first bytes were read already.
type greeting struct {
	net.Conn
	first []byte
}

func (g *greeting) Read(p []byte) (int, error) {
	if len(g.first) > 0 {
		n := copy(p, g.first)
		g.first = g.first[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

// greeted waits for the sink's first bytes, its settings of HTTP/2. With TLS 1.3
// a client takes the handshake for done before the sink has looked at the client's
// certificate; whoever writes first may then find the connection closed, and never
// read why.
func greeted(ctx context.Context, conn net.Conn) (*greeting, error) {
	until := time.Now().Add(greetingTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if err := conn.SetReadDeadline(until); err != nil {
		return nil, err
	}
	first := make([]byte, greetingSize)
	n, err := conn.Read(first)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "remote error":
		return nil, fmt.Errorf("it has refused our certificate: %w", op.Err)
	case n == 0:
		return nil, fmt.Errorf("it says nothing after the handshake: %w", err)
	}
	return &greeting{Conn: conn, first: first[:n]}, conn.SetReadDeadline(time.Time{})
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
