package replication_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/replication"
)

func TestRedact(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                      "",
		"host=h user=u dbname=d":                "host=h user=u dbname=d",
		"host=h password=pw user=u":             "host=h password=xxxxx user=u",
		"password = pw host=h":                  "password = xxxxx host=h",
		`password='a \' b' host=h`:              `password=xxxxx host=h`,
		`password='never closed host=h`:         `password=xxxxx`,
		"password=with space host=h":            "password=xxxxx host=h",
		"password=a=b host=h":                   "password=xxxxx host=h",
		"password=":                             "password=xxxxx",
		"sslpassword=pw passfile=/p host=h":     "sslpassword=xxxxx passfile=/p host=h",
		"application_name='password=no' host=h": "application_name='password=no' host=h",
		"postgresql://u:pw@h:5432/d?sslmode=x":  "postgresql://u:xxxxx@h:5432/d?sslmode=x",
		"postgres://u@h/d":                      "postgres://u@h/d",
		"postgres://u:p@ss/w?rd@h/d":            "postgres://u:xxxxx",
		"postgres://h/d?password=pw&user=u":     "postgres://h/d?password=xxxxx&user=u",
		"postgres://h/d?p%61ssword=pw":          "postgres://h/d?p%61ssword=xxxxx",
		"postgres://h1,h2:5433/d?sslpassword=x": "postgres://h1,h2:5433/d?sslpassword=xxxxx",
		"postgres://h?password=p@w&user=u":      "postgres://h?xxxxx",
		"postgres://h:1/d?password=p@w&user=u":  "postgres://h:xxxxx",
		"postgres://u:p@s/w@h/d":                "postgres://u:xxxxx@h/d",
	} {
		if got := replication.Redact(dsn); got != want {
			t.Errorf("%s\n got %s\nwant %s", dsn, got, want)
		}
	}
}

func TestParseDSN(t *testing.T) {
	info, err := replication.ParseDSN("postgresql://alice:" + url.QueryEscape(password) + "@h1:5433,h2/db?application_name=app&sslmode=verify-full")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"h1:5433", "h2:5432"}; !slices.Equal(info.Servers(), want) {
		t.Errorf("servers %v, want %v", info.Servers(), want)
	}
	if info.ApplicationName() != "app" {
		t.Errorf("application name %q", info.ApplicationName())
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, info); strings.Contains(s, "s3cr3t") || !strings.Contains(s, "alice") {
			t.Errorf("%s: %s", verb, s)
		}
		cfg := replication.Config{DSN: "user=alice password=s3cr3tword"}
		if s := fmt.Sprintf(verb, cfg); strings.Contains(s, "s3cr3t") {
			t.Errorf("%s: %s", verb, s)
		}
	}
	if s := (replication.Config{DSN: "password=s3cr3tword"}).LogValue().String(); strings.Contains(s, "s3cr3t") {
		t.Error(s)
	}
}

// A string that cannot be used is refused with a reason, for good, and without
// what may be its password.
func TestParseDSNErrors(t *testing.T) {
	const secret = "s3cr3t"
	for dsn, reason := range map[string]string{
		"password=s3cr3t host":                                        "keyword=value",
		"password='s3cr3t host=h":                                     "keyword=value",
		"password=my s3cr3t host=h":                                   "keyword=value",
		"password=s3cr3t port=abc":                                    "port",
		"password=s3cr3t host=h sslmode=bogus":                        "sslmode",
		"password=s3cr3t host=h sslmode=verify-full sslrootcert=/no ": "/no",
		"password=s3cr3t connect_timeout=soon":                        "connect_timeout",
		"password=s3cr3t target_session_attrs=best":                   "target_session_attrs",
		"password=s3cr3t target_session_attrs=prefer-standby":         "prefer-standby",
		"password=s3cr3t service=nonesuch":                            "service",
		"password=s3cr3t sslcrl=/x":                                   "sslcrl is not supported",
		"password=s3cr3t hostaddr=127.0.0.1":                          "hostaddr is not supported",
		"postgres://u:s3cr3t@h:port/d":                                "port",
		"postgres://u:p/s3cr3t@h/d":                                   "",
		"postgres://u:s3cr3t/p@h/d":                                   "",
		"postgres://u:p@s3cr3t@h/d":                                   "URL",
		"postgres://u:%zz-s3cr3t@h/d":                                 "URL",
		"postgres://u:s3cr3t@[::1/d":                                  "URL",
		"postgres://u:p@s3cr3t:x@h/d":                                 "",
	} {
		_, err := replication.ParseDSN(dsn)
		if err == nil {
			t.Errorf("%s: no error", dsn)
			continue
		}
		e := checkError(t, err, wantError{permanent: true})
		if !strings.Contains(e.Message, reason) {
			t.Errorf("%s: %q is not in: %v", dsn, reason, err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("%s: the password is in: %v", dsn, err)
		}
	}
}

// Whatever the password, it is not in what is logged.
func FuzzRedact(f *testing.F) {
	f.Add("pa ss'w\\rd")
	f.Add("p@ss:w/r?d&x=y%")
	f.Fuzz(func(t *testing.T, pw string) {
		const filler = "ZQXJ" // in no other part of the string
		pw = filler + pw + filler
		kv := "host=h user=u password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(pw) + "' dbname=d"
		if s := replication.Redact(kv); s != "host=h user=u password=xxxxx dbname=d" {
			t.Errorf("%q: %s", kv, s)
		}
		for _, dsn := range []string{
			"postgres://u:" + url.QueryEscape(pw) + "@h/d",
			"postgres://h/d?user=u&password=" + url.QueryEscape(pw),
			"postgres://u:" + pw + "@h/d", // not escaped, as users write it
			"host=h user=u password=" + pw,
		} {
			if s := replication.Redact(dsn); strings.Contains(s, filler) {
				t.Errorf("%q: %s", dsn, s)
			}
			if _, err := replication.ParseDSN(dsn); err != nil && strings.Contains(err.Error(), filler) {
				t.Errorf("%q: %v", dsn, err)
			}
		}
	})
}
