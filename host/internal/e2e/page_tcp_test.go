package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

const pagesOverTCP = `
stream "main" {
  postgres {
    dsn         = DSN
    slot        = "walplex"
    create_slot = true
  }
  sink "page_cache" "pages" {
    config {
      directory     = "ROOT/pages"
      base_backup   = true
      databases     = DATABASES
      listen_tcp    = "127.0.0.1:PORT"
      tls_cert      = "ROOT/sink.crt"
      tls_key       = "ROOT/sink.key"
      tls_client_ca = "ROOT/ca.crt"
    }
  }
}`

// certificates writes ca.crt, and for each name a certificate of that authority
// and its key, NAME.crt and NAME.key.
func certificates(t *testing.T, d dirs, names ...string) {
	t.Helper()
	write := func(name, kind string, der []byte) {
		t.Helper()
		if err := os.WriteFile(d.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	make := func(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: parent == nil, BasicConstraintsValid: true,
		}
		if parent == nil {
			parent, signer = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".crt", "CERTIFICATE", der)
		write(name+".key", "EC PRIVATE KEY", keyDER)
		return cert, key
	}
	ca, key := make("ca", nil, nil)
	for _, name := range names {
		make(name, ca, key)
	}
}

// freeTCPPort is a port that nobody listens on.
func freeTCPPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestPageTCP reads a page over TCP, of a cache that stores one database of two,
// and is refused with another authority's certificate.
func TestPageTCP(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "CREATE TABLE x AS SELECT g FROM generate_series(1, 1000) g", "CHECKPOINT")
	d, strangers := newDirs(t), newDirs(t)
	certificates(t, d, "sink", "client")
	certificates(t, strangers, "client")
	port := freeTCPPort(t)
	text := strings.NewReplacer("PORT", fmt.Sprint(port), "DATABASES", "["+query(t, c, "SELECT oid FROM pg_database WHERE datname = 'postgres'")+"]").Replace(pagesOverTCP)
	h := start(t, "run", d.write(text, c.DSN()))
	h.says("base backup: the sink holds it", 1)
	emit(t, c, 1)
	relation, lsn := relationName(t, c, "x"), flushLSN(t, c)
	from := fmt.Sprintf("tcp://127.0.0.1:%d", port)
	get := func(relation string, of dirs) (string, string, int) {
		t.Helper()
		return walplexOut(t, "page", "get", "--relation", relation, "--block", "1", "--lsn", lsn.String(), "--from", from,
			"--tls-ca", d.path("ca.crt"), "--tls-cert", of.path("client.crt"), "--tls-key", of.path("client.key"), "--tls-server-name", "sink")
	}
	if page, stderr, status := get(relation, d); status != 0 || len(page) != wal.BlockSize {
		t.Errorf("over TCP: status %d, %d bytes, %s", status, len(page), stderr)
	}
	if _, stderr, status := get(relation, strangers); status != 1 || !strings.Contains(stderr, "it has refused our certificate: tls: unknown certificate authority") {
		t.Errorf("with a stranger's certificate: status %d, %s", status, stderr)
	}
	if _, stderr, status := walplexOut(t, "page", "get", "--relation", relation, "--block", "1", "--from", from); status != 1 || !strings.Contains(stderr, "only with TLS on both sides") {
		t.Errorf("without certificates: status %d, %s", status, stderr)
	}
	if _, stderr, status := get("1663/1/1259", d); status != 1 || !strings.Contains(stderr, "is not among those of the sink's settings databases = [") {
		t.Errorf("of another database: status %d, %s", status, stderr)
	}
	// What is not stored is no difference.
	if err := c.Stop(t.Context(), postgres.Fast); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := walplexOut(t, "page", "verify", "--from", d.path("pages/pages.sock"), c.DataDir())
	if status != 0 || !strings.Contains(stdout, "left out: relations that the sink's settings leave out (") {
		t.Errorf("verify: status %d, %s%s", status, stdout, stderr)
	}
	h.stop()
}
