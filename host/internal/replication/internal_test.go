package replication

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/walplex/walplex/sdk/wal"
)

// The encoding of a status, byte by byte; zero stays zero.
func TestAppendStatus(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 1, 2000, time.UTC) // 1,000,002 µs after the epoch
	for _, tt := range []struct {
		s    Status
		want string
	}{
		{Status{Write: 0x102030405060708, Flush: 2, Apply: 3, ReplyRequested: true},
			"64 00000026 72 0102030405060708 0000000000000002 0000000000000003 00000000000f4242 01"},
		{Status{Write: 1}, "64 00000026 72 0000000000000001 0000000000000000 0000000000000000 00000000000f4242 00"},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(tt.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := appendStatus(nil, tt.s, now); !bytes.Equal(got, want) {
			t.Errorf("%+v:\n got %x\nwant %x", tt.s, got, want)
		}
	}
}

func TestParseSegmentSize(t *testing.T) {
	for s, want := range map[string]wal.SegmentSize{
		"1MB": 1 << 20, "16MB": 16 << 20, "1GB": 1 << 30, "64MB": 64 << 20, "16777216": 16 << 20, "16384kB": 16 << 20,
		"": 0, "MB": 0, "3MB": 0, "2GB": 0, "1TB": 0, "-1MB": 0, "512kB": 0, "99999999999GB": 0, "4294967295GB": 0,
	} {
		got, err := parseSegmentSize(s)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
}

// Messages that PostgreSQL does not send are refused, none panics.
func TestParseCopyData(t *testing.T) {
	for _, bad := range []string{"", "w", "x", "k", "k" + strings.Repeat("\x00", 16), "k" + strings.Repeat("\x00", 18), "w" + strings.Repeat("\x00", 23)} {
		if m, err := parseCopyData([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}

func FuzzParseCopyData(f *testing.F) {
	f.Add([]byte("k" + strings.Repeat("\x01", 17)))
	f.Add([]byte("w" + strings.Repeat("\x01", 30)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseCopyData(b); err == nil && m.Kind != Keepalive {
			t.Errorf("%q: %+v", b, m)
		}
	})
}

// Two complaints about the start have the same SQLSTATE and come in the
// server's language: the LSNs tell them apart.
func TestStartPointInAnyLanguage(t *testing.T) {
	for _, tt := range []struct {
		message          string
		at               phase
		standby          bool
		ahead, permanent bool
	}{
		{"requested starting point 1/A0 is ahead of the WAL flush position of this server 1/90", starting, false, true, true},
		{"angeforderter Startpunkt 1/A0 ist vor der WAL-Flush-Position dieses Servers 1/90", starting, true, true, false},
		{"requested starting point 0/90 on timeline 1 is not in this server's history", starting, false, false, true},
		{"requested timeline 9 is not in this server's history", starting, true, false, true},
		{"requested starting point 1/A0 is ahead of the WAL flush position of this server 1/90", inStream, false, false, false},
	} {
		e := serverError("START_REPLICATION", "", &pgconn.PgError{Code: "XX000", Message: tt.message}, tt.at, tt.standby)
		if e.Ahead != tt.ahead || e.Permanent != tt.permanent {
			t.Errorf("%s: %+v", tt.message, e)
		}
	}
}

func TestServerErrorClasses(t *testing.T) {
	for code, permanent := range map[string]bool{
		"28P01": true, "28000": true, "3D000": true, "42501": true, "42704": true, "42601": true, "0A000": true,
		"55000": true, "53400": true, "58P01": true,
		"57P01": false, "57P02": false, "57P03": false, "53300": false, "53200": false, "55006": false, "08006": false, "58030": false, "XX001": false,
	} {
		e := serverError("op", "server", &pgconn.PgError{Code: code, Message: "message", Detail: "detail"}, inStream, false)
		if e.Permanent != permanent || e.Gap != (code == "58P01") || e.SlotActive != (code == "55006") {
			t.Errorf("%s: %+v", code, e)
		}
		if text := e.Error(); !strings.HasPrefix(text, "op (server server): message (detail) (SQLSTATE "+code+")") {
			t.Errorf("%s: %s", code, text)
		}
	}
}

// The package comment is the contract: go doc prints its drawing.
func TestPackageComment(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "doc").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "standby status (client)") {
		t.Errorf("go doc: %v\n%s", err, out)
	}
}
