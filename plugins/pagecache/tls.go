package pagecache

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"google.golang.org/grpc/credentials"

	"github.com/walplex/walplex/sdk"
)

// tcpCredentials reads the files of TLS. Only clients that have a certificate of
// the authority are answered: whoever reads pages reads all data of the server.
func (c *Config) tcpCredentials() (credentials.TransportCredentials, error) {
	if c.ListenTCP == "" {
		return nil, nil
	}
	if err := checkKeyFile(c.TLSKey); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, sdk.Permanentf("tls_cert %s with tls_key %s: %w", c.TLSCert, c.TLSKey, err)
	}
	pem, err := os.ReadFile(c.TLSClientCA)
	if err != nil {
		return nil, sdk.Permanentf("tls_client_ca: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, sdk.Permanentf("tls_client_ca: %s holds no certificate in PEM", c.TLSClientCA)
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		ClientCAs:    authorities, ClientAuth: tls.RequireAndVerifyClientCert,
	}), nil
}

// checkKeyFile refuses a key that others can read, as libpq does
// (initialize_SSL in fe-secure-openssl.c): only its owner may, and its group where
// the owner is root.
func checkKeyFile(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return sdk.Permanentf("tls_key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return sdk.Permanentf("tls_key: %s is not a regular file", name)
	}
	forbidden, say := fs.FileMode(0o077), "u=rw (0600) or less"
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 {
		forbidden, say = 0o037, "u=rw,g=r (0640) or less, since it is owned by root"
	}
	if perm := info.Mode().Perm(); perm&forbidden != 0 {
		return sdk.Permanent(fmt.Errorf("tls_key: %s has permissions %04o, and others could read it: give it %s", name, perm, say))
	}
	return nil
}
