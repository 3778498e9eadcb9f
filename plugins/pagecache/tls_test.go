package pagecache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// authority signs certificates of tests.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // of the certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), key: newKey(t)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write("ca.crt", "CERTIFICATE", der, 0o644)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte, mode os.FileMode) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// sign makes a certificate for host that ends at until, and its key.
func (a *authority) sign(name, host string, until time.Time) (cert, key string) {
	a.t.Helper()
	private := newKey(a.t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".crt", "CERTIFICATE", der, 0o644), a.write(name+".key", "EC PRIVATE KEY", keyDER, 0o600)
}

// TestTLS has clients of all kinds ask for a page.
func TestTLS(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, imaged := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 1)))
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	later := time.Now().Add(time.Hour)
	cert, key := ours.sign("sink", "pages.test", later)
	s := newSink(&Config{Directory: "/pages", Listen: shortDir(t) + "/s", ListenTCP: "127.0.0.1:0", TLSCert: cert, TLSKey: key, TLSClientCA: ours.file}, vfs.NewMem())
	l, err := beginSink(t, s, w)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.all()
	address := pageclient.TCPPrefix + s.service.doors[1].where

	good, goodKey := ours.sign("client", "client.test", later)
	stranger, strangerKey := others.sign("stranger", "client.test", later)
	expired, expiredKey := ours.sign("expired", "client.test", time.Now().Add(-time.Hour))
	tests := []struct {
		name string
		o    pageclient.TLSOptions
		says string
	}{
		{"good", pageclient.TLSOptions{CA: ours.file, Cert: good, Key: goodKey, ServerName: "pages.test"}, ""},
		{"the sink's certificate is of another authority", pageclient.TLSOptions{CA: others.file, Cert: good, Key: goodKey, ServerName: "pages.test"}, "certificate signed by unknown authority"},
		{"another name", pageclient.TLSOptions{CA: ours.file, Cert: good, Key: goodKey, ServerName: "other.test"}, "certificate is valid for pages.test, not other.test"},
		{"the host's name", pageclient.TLSOptions{CA: ours.file, Cert: good, Key: goodKey}, "cannot validate certificate for 127.0.0.1"},
		{"our certificate is of another authority", pageclient.TLSOptions{CA: ours.file, Cert: stranger, Key: strangerKey, ServerName: "pages.test"}, "it has refused our certificate: tls: unknown certificate authority"},
		{"our certificate has expired", pageclient.TLSOptions{CA: ours.file, Cert: expired, Key: expiredKey, ServerName: "pages.test"}, "it has refused our certificate: tls: "},
	}
	for _, tt := range tests {
		c, err := pageclient.DialFrom(address, tt.o)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: imaged})
		switch {
		case tt.says == "" && (err != nil || len(res.GetImage().GetPage()) != 8192):
			t.Errorf("%s: %v", tt.name, err)
		case tt.says != "":
			if pageclient.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "no page_cache sink answers at tcp://127.0.0.1:") {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.says)
			}
		}
		c.Close()
	}
	refusesOthers(t, strings.TrimPrefix(address, pageclient.TCPPrefix), ours)
}

// refusesOthers connects without a certificate, with an old version, and without
// TLS.
func refusesOthers(t *testing.T, address string, ours *authority) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	read := func(conn net.Conn, err error) error {
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	for name, config := range map[string]*tls.Config{
		"certificate required": {RootCAs: roots, ServerName: "pages.test", NextProtos: []string{"h2"}},
		"protocol version":     {RootCAs: roots, ServerName: "pages.test", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		conn, err := tls.Dial("tcp", address, config)
		var got error
		if err != nil {
			got = err
		} else {
			got = read(conn, nil)
		}
		if got == nil || !strings.Contains(got.Error(), name) {
			t.Errorf("got %v, want %q", got, name)
		}
	}
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	}
	if err = errors.Join(err); err != nil {
		t.Fatal(err)
	}
	if err := read(conn, nil); err == nil {
		t.Error("a connection without TLS is answered")
	}
}

// TestDialErrors is about what the client's user has to mend.
func TestDialErrors(t *testing.T) {
	a := newAuthority(t, "ours")
	cert, key := a.sign("client", "client.test", time.Now().Add(time.Hour))
	_, otherKey := a.sign("other", "client.test", time.Now().Add(time.Hour))
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all := pageclient.TLSOptions{CA: a.file, Cert: cert, Key: key}
	with := func(f func(*pageclient.TLSOptions)) pageclient.TLSOptions {
		o := all
		f(&o)
		return o
	}
	tests := []struct {
		from string
		o    pageclient.TLSOptions
		says string
	}{
		{"", all, "name the socket"},
		{"/a/socket", all, "is a Unix socket, which has no TLS"},
		{"tcp://host", all, `"host" is not HOST:PORT`},
		{"tcp://host:1", pageclient.TLSOptions{}, "only with TLS on both sides: the authority's certificate is missing"},
		{"tcp://host:1", with(func(o *pageclient.TLSOptions) { o.Cert = "" }), "a certificate of ours is missing"},
		{"tcp://host:1", with(func(o *pageclient.TLSOptions) { o.Key = "" }), "its key is missing"},
		{"tcp://host:1", with(func(o *pageclient.TLSOptions) { o.CA = "/nowhere" }), "/nowhere"},
		{"tcp://host:1", with(func(o *pageclient.TLSOptions) { o.CA = empty }), "holds no certificate in PEM"},
		{"tcp://host:1", with(func(o *pageclient.TLSOptions) { o.Key = otherKey }), "private key does not match public key"},
	}
	for _, tt := range tests {
		c, err := pageclient.DialFrom(tt.from, tt.o)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: got %v, want %q", tt.from, err, tt.says)
		}
	}
}

// TestTLSFiles is about what the sink's user has to mend.
func TestTLSFiles(t *testing.T) {
	a := newAuthority(t, "ours")
	cert, key := a.sign("sink", "pages.test", time.Now().Add(time.Hour))
	_, otherKey := a.sign("other", "pages.test", time.Now().Add(time.Hour))
	mode := func(mode os.FileMode) string {
		b, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "key")
		if err := errors.Join(os.WriteFile(name, b, 0o600), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	tests := []struct{ cert, key, ca, says string }{
		{cert, mode(0o604), a.file, "has permissions 0604, and others could read it"},
		{cert, mode(0o660), a.file, "has permissions 0660, and others could read it"},
		{cert, t.TempDir(), a.file, "is not a regular file"},
		{cert, "/nowhere", a.file, "tls_key: stat /nowhere"},
		{cert, otherKey, a.file, "private key does not match public key"},
		{cert, key, "/nowhere", "tls_client_ca: open /nowhere"},
		{cert, key, key, "holds no certificate in PEM"},
	}
	for _, tt := range tests {
		c := &Config{Directory: "/pages", Listen: shortDir(t) + "/s", ListenTCP: "127.0.0.1:0", TLSCert: tt.cert, TLSKey: tt.key, TLSClientCA: tt.ca}
		_, err := newSink(c, vfs.NewMem()).Open(t.Context(), &sdk.OpenRequest{System: testSystem, LockWait: time.Millisecond})
		if !sdk.IsPermanent(err) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("got %v, want a permanent error with %q", err, tt.says)
		}
	}
	// A key of root's may be read by its group.
	if os.Getuid() == 0 {
		if err := checkKeyFile(mode(0o640)); err != nil {
			t.Error(err)
		}
	}
	// A port that is taken.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &Config{Directory: "/pages", Listen: shortDir(t) + "/s", ListenTCP: l.Addr().String(), TLSCert: cert, TLSKey: key, TLSClientCA: a.file}
	if _, err = newSink(c, vfs.NewMem()).Open(t.Context(), &sdk.OpenRequest{System: testSystem, LockWait: time.Millisecond}); err == nil || !strings.Contains(err.Error(), "listen_tcp") {
		t.Errorf("a port that is taken: %v", err)
	}
}
