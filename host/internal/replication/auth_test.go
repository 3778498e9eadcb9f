package replication_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/host/internal/replication"
)

const password = "s3cr3t'word"

// logIn connects, identifies the system, and closes.
func logIn(t *testing.T, dsn string) error {
	t.Helper()
	ctx := testContext(t)
	conn, err := replication.Connect(ctx, replication.Config{DSN: dsn})
	if err != nil {
		return err
	}
	_, err = conn.IdentifySystem(ctx)
	if err := conn.Close(ctx); err != nil {
		t.Error(err)
	}
	return err
}

func TestAuthentication(t *testing.T) {
	c := pgtest.Start(t, func(o *pgOptions) {
		o.HBA = []string{
			"local all         postgres trust",
			"local replication postgres trust",
			"local replication scram    scram-sha-256",
			"local replication md5      md5",
			"local replication plain    password",
			"local replication rejected reject",
			"local replication nologin  trust",
			"local replication norepl   trust",
			"local replication missing  trust",
		}
	})
	quoted := strings.ReplaceAll(password, "'", "''")
	pgtest.Exec(t, c,
		"CREATE ROLE scram LOGIN REPLICATION PASSWORD '"+quoted+"'",
		"CREATE ROLE plain LOGIN REPLICATION PASSWORD '"+quoted+"'",
		"SET password_encryption = md5; CREATE ROLE md5 LOGIN REPLICATION PASSWORD '"+quoted+"'",
		"CREATE ROLE rejected LOGIN REPLICATION", "CREATE ROLE nologin REPLICATION", "CREATE ROLE norepl LOGIN", "CREATE ROLE unlisted LOGIN REPLICATION")

	escaped := strings.ReplaceAll(password, "'", `\'`)
	for _, role := range []string{"scram", "md5", "plain"} {
		t.Run(role, func(t *testing.T) {
			if err := logIn(t, c.DSN("user="+role, "password='"+escaped+"'")); err != nil {
				t.Error(err)
			}
			e := checkError(t, logIn(t, c.DSN("user="+role, "password=wr0ngword")), wantError{code: "28P01", permanent: true})
			if strings.Contains(fmt.Sprintf("%v %+v %#v", e, e, e), "wr0ng") {
				t.Errorf("the password is in the error: %#v", e)
			}
			checkError(t, logIn(t, c.DSN("user="+role, "passfile=/nonexistent")), wantError{code: "28P01", permanent: true})
		})
	}
	for _, tt := range []struct{ role, code, text string }{
		{"rejected", "28000", "pg_hba.conf rejects"},
		{"unlisted", "28000", "no pg_hba.conf entry"},
		{"nologin", "28000", "not permitted to log in"},
		{"missing", "28000", "does not exist"},
		{"norepl", "42501", "REPLICATION"},
	} {
		t.Run(tt.role, func(t *testing.T) {
			e := checkError(t, logIn(t, c.DSN("user="+tt.role)), wantError{code: tt.code, permanent: true})
			if !strings.Contains(e.Error(), tt.text) || e.Remedy == "" {
				t.Errorf("%q is not in, or there is no remedy: %v", tt.text, e)
			}
		})
	}
	t.Run("passfile", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pgpass")
		// As for pg_receivewal, the database is "replication" where none is named.
		line := "localhost:*:replication:scram:" + password + "\n"
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		dsn := fmt.Sprintf("host=%s port=%d user=scram passfile=%s", c.Dir(), c.Port(), path)
		if err := logIn(t, dsn); err != nil {
			t.Error(err)
		}
		url := fmt.Sprintf("postgresql:///?host=%s&port=%d&user=scram&passfile=%s", c.Dir(), c.Port(), path)
		if err := logIn(t, url); err != nil {
			t.Error(err)
		}
	})
	t.Run("environment", func(t *testing.T) {
		t.Setenv("PGHOST", c.Dir())
		t.Setenv("PGPORT", fmt.Sprint(c.Port()))
		t.Setenv("PGUSER", "scram")
		t.Setenv("PGPASSWORD", password)
		if err := logIn(t, ""); err != nil {
			t.Error(err)
		}
	})
	t.Run("service", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "services")
		if err := os.WriteFile(path, []byte(fmt.Sprintf("[wal]\nhost=%s\nport=%d\nuser=scram\npassword=%s\n", c.Dir(), c.Port(), password)), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PGSERVICEFILE", path)
		if err := logIn(t, "service=wal"); err != nil {
			t.Error(err)
		}
	})
}

// The limit of walsenders: transient where others may go, permanent where there
// can be none.
func TestTooManyWalsenders(t *testing.T) {
	ctx := testContext(t)
	c := pgtest.Start(t, func(o *pgOptions) {
		o.Conf = map[string]string{"max_wal_senders": "1"}
	})
	conn := connect(t, c, replication.Config{})
	if _, err := conn.IdentifySystem(ctx); err != nil {
		t.Fatal(err)
	}
	if e := checkError(t, logIn(t, c.DSN()), wantError{code: "53300"}); !e.NoRoom {
		t.Errorf("there is room: %#v", e)
	}

	if err := c.SetConf(map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	e := checkError(t, logIn(t, c.DSN()), wantError{code: "53300", permanent: true})
	if !strings.Contains(e.Error(), "wal_level") {
		t.Errorf("no remedy: %v", e)
	}
}

func TestNoSlotsLeft(t *testing.T) {
	c := pgtest.Start(t, func(o *pgOptions) { o.Conf = map[string]string{"max_replication_slots": "1"} })
	conn := connect(t, c, replication.Config{})
	if _, err := conn.CreateSlot(testContext(t), "a"); err != nil {
		t.Fatal(err)
	}
	_, err := conn.CreateSlot(testContext(t), "b")
	checkError(t, err, wantError{code: "53400", permanent: true})
}

// A server that is not there, or not yet, is no reason to give up.
func TestServerNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, dsn := range map[string]string{
		"refused":   fmt.Sprintf("host=127.0.0.1 port=%d user=u password=s3cr3tword", port),
		"no socket": "host=" + t.TempDir() + " user=u password=s3cr3tword",
		"no name":   "host=nonesuch.invalid user=u password=s3cr3tword",
	} {
		t.Run(name, func(t *testing.T) {
			e := checkError(t, logIn(t, dsn), wantError{})
			if strings.Contains(e.Error(), "s3cr3t") {
				t.Errorf("the password is in the error: %v", e)
			}
		})
	}
}

// authority is a certificate authority of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a certificate for a host or a role.
func (a authority) issue(t *testing.T, name string, expired bool) (cert, key []byte) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if expired {
		tmpl.NotAfter = time.Now().Add(-time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &priv.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	cert, key := ours.issue(t, "localhost", false)
	c := pgtest.Start(t, func(o *pgOptions) {
		o.TCP, o.TLS = true, &postgres.TLS{Certificate: cert, Key: key, ClientCA: ours.pem}
		o.HBA = []string{
			"local   all         postgres trust",
			"hostssl replication certrole 127.0.0.1/32 cert",
			"hostssl replication scram    127.0.0.1/32 scram-sha-256",
		}
	})
	pgtest.Exec(t, c, "CREATE ROLE certrole LOGIN REPLICATION", "CREATE ROLE scram LOGIN REPLICATION PASSWORD 'pw'")
	ourCA, theirCA := writeFile(t, "ours.crt", ours.pem), writeFile(t, "theirs.crt", theirs.pem)
	clientCert, clientKey := ours.issue(t, "certrole", false)
	certFile, keyFile := writeFile(t, "c.crt", clientCert), writeFile(t, "c.key", clientKey)
	expiredCert, expiredKey := ours.issue(t, "certrole", true)
	expiredCertFile, expiredKeyFile := writeFile(t, "e.crt", expiredCert), writeFile(t, "e.key", expiredKey)

	const scram = "user=scram password=pw "
	for _, tt := range []struct {
		name, host, params string
		want               *wantError
	}{
		{"verify-full", "localhost", scram + "sslmode=verify-full sslrootcert=" + ourCA, nil},
		{"channel binding", "localhost", scram + "sslmode=verify-full channel_binding=require sslrootcert=" + ourCA, nil},
		{"prefer", "localhost", scram + "sslmode=prefer", nil},
		{"require without a CA", "127.0.0.1", scram + "sslmode=require", nil},
		{"verify-ca with another name", "127.0.0.1", scram + "sslmode=verify-ca sslrootcert=" + ourCA, nil},
		{"verify-full with another name", "127.0.0.1", scram + "sslmode=verify-full sslrootcert=" + ourCA, &wantError{permanent: true}},
		{"wrong CA", "localhost", scram + "sslmode=verify-full sslrootcert=" + theirCA, &wantError{permanent: true}},
		{"no TLS where it is demanded", "localhost", scram + "sslmode=disable", &wantError{code: "28000", permanent: true}},
		{"client certificate", "localhost", "user=certrole sslmode=verify-full sslrootcert=" + ourCA + " sslcert=" + certFile + " sslkey=" + keyFile, nil},
		{"no client certificate", "localhost", "user=certrole sslmode=verify-full sslrootcert=" + ourCA, &wantError{code: "28000", permanent: true}},
		{"an expired client certificate", "localhost", "user=certrole sslmode=verify-full sslrootcert=" + ourCA + " sslcert=" + expiredCertFile + " sslkey=" + expiredKeyFile, &wantError{permanent: true}},
		{"missing CA file", "localhost", scram + "sslmode=verify-full sslrootcert=/nonexistent", &wantError{permanent: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := logIn(t, c.DSN("host="+tt.host, tt.params))
			// With TLS 1.3 the server judges our certificate after we think that the
			// handshake is done: its reset may overtake its reason. The host tries again
			// then, and so do we.
			for range 100 {
				var e *replication.Error
				if tt.want == nil || !tt.want.permanent || !errors.As(err, &e) || e.Permanent || e.SQLSTATE != "" {
					break
				}
				err = logIn(t, c.DSN("host="+tt.host, tt.params))
			}
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := checkError(t, err, *tt.want); e.Remedy == "" && e.Op == "connect" {
				t.Errorf("no remedy: %v", e)
			}
		})
	}
	t.Run("stream", func(t *testing.T) {
		streamOverTLS(t, c, c.DSN("host=localhost", scram+"sslmode=verify-full sslrootcert="+ourCA))
	})
}

// streamOverTLS checks the parts that look below TLS.
func streamOverTLS(t *testing.T, c *postgres.Cluster, dsn string) {
	ctx := testContext(t)
	conn := connect(t, c, replication.Config{DSN: dsn})
	begin := flushLSN(t, c)
	start(t, conn, replication.StartOptions{LSN: begin})
	insert(t, c, 2)
	s := stream{begin: begin, end: begin}
	s.receive(ctx, t, conn, flushLSN(t, c))
	eventually(t, "drained at rest", func() bool {
		if err := conn.SendStatus(ctx, replication.Status{Write: s.end, ReplyRequested: true}); err != nil {
			t.Fatal(err)
		}
		m, err := conn.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return m.Kind == replication.Keepalive && conn.Drained()
	})
	if _, err := conn.EndCopy(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.IdentifySystem(ctx); err != nil {
		t.Error(err)
	}
}

// A server without TLS cannot be had with it.
func TestServerWithoutTLS(t *testing.T) {
	c := pgtest.Start(t, func(o *pgOptions) { o.TCP = true })
	if err := logIn(t, c.DSNTCP("sslmode=prefer")); err != nil {
		t.Error(err)
	}
	e := checkError(t, logIn(t, c.DSNTCP("sslmode=require")), wantError{permanent: true})
	if !strings.Contains(e.Error(), "ssl on") {
		t.Errorf("no remedy: %v", e)
	}
	// With prefer the second try is the one that counts.
	if err := c.Stop(testContext(t), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	checkError(t, logIn(t, c.DSNTCP("sslmode=prefer")), wantError{})
}
