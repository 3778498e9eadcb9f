package e2e

import (
	"bytes"
	"encoding/hex"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestPageGet reads a page back through the program: as of its image, as of an
// LSN that is not there yet, and where records would have to be replayed.
func TestPageGet(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	h := start(t, "run", d.write(allSinks, c.DSN()))
	h.says("caught up", 1)
	pgtest.Exec(t, c, "CREATE EXTENSION pageinspect", "CREATE TABLE x (a int, b text) WITH (autovacuum_enabled = off)",
		"INSERT INTO x SELECT g, 'before' FROM generate_series(1, 100) g", "CHECKPOINT",
		"UPDATE x SET b = 'after' WHERE a = 1")
	imaged := flushLSN(t, c)
	relation := query(t, c, "SELECT (SELECT oid FROM pg_tablespace WHERE spcname = 'pg_default') || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || pg_relation_filenode('x')")
	want, err := hex.DecodeString(query(t, c, "SELECT encode(get_raw_page('x', 0), 'hex')"))
	if err != nil {
		t.Fatal(err)
	}
	get := func(args ...string) (page []byte, stderr string, err error) {
		t.Helper()
		var out, errOut bytes.Buffer
		cmd := exec.Command(program, append([]string{"page", "get", "--from", d.path("pages/pages.sock"), "--relation", relation, "--block", "0"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err = cmd.Run()
		return out.Bytes(), errOut.String(), err
	}
	page, stderr, err := get("--lsn", imaged.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	// pd_checksum is set only when a page is written to its file.
	for _, p := range [][]byte{page, want} {
		p[8], p[9] = 0, 0
	}
	if !bytes.Equal(page, want) {
		t.Errorf("the page differs from the server's")
	}

	// An LSN that lies ahead is waited for, until the deadline.
	if _, stderr, err = get("--lsn", (imaged + 1<<20).String(), "--wait", "200ms"); err == nil || !strings.Contains(stderr, (imaged+1<<20).String()) {
		t.Errorf("a page at an LSN that is not there: %v, %q", err, stderr)
	}
	// A change after the image: what would have to be replayed is named.
	pgtest.Exec(t, c, "UPDATE x SET b = 'later' WHERE a = 2")
	later := flushLSN(t, c)
	if _, stderr, err = get("--lsn", later.String()); err == nil || !strings.Contains(stderr, "HOT_UPDATE") {
		t.Errorf("a page that must be replayed: %v, %q", err, stderr)
	}
	// Still as it was.
	if again, stderr, err := get("--lsn", imaged.String()); err != nil || len(again) != wal.BlockSize {
		t.Errorf("%v\n%s", err, stderr)
	}
	if _, stderr, err = get("--lsn", "0/10"); err == nil {
		t.Errorf("a page below the horizon is answered: %q", stderr)
	}
	if _, stderr, err = get("--lsn", strconv.Itoa(7)); err == nil || !strings.Contains(stderr, "LSN") {
		t.Errorf("a malformed LSN: %v %q", err, stderr)
	}
	h.stop()
}
