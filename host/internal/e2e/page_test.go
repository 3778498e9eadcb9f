package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/redo"
)

// TestPageGet reads a page back through the program: as of its image, as of a
// later record, and as of an LSN that is not there yet.
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
	// A change after the image: redo does it.
	pgtest.Exec(t, c, "UPDATE x SET b = 'later' WHERE a = 2")
	later := flushLSN(t, c)
	if page, stderr, err = get("--lsn", later.String()); err != nil || !bytes.Contains(page, []byte("later")) {
		t.Errorf("a page that was changed after its image: %v, %q", err, stderr)
	}
	if again, stderr, err := get(); err != nil || !bytes.Equal(again, page) {
		t.Errorf("the last page that there is: %v, %q", err, stderr)
	}
	// Still as it was.
	if again, stderr, err := get("--lsn", imaged.String()); err != nil || len(again) != wal.BlockSize || bytes.Contains(again, []byte("later")) {
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

// savedPage is a page as the server had it, and when.
type savedPage struct {
	request pageclient.PageRequest
	rmgr    wal.RmgrID // whose page it is
	bytes   []byte
}

// pagesNow saves all pages of the relations but those of free space maps, which
// nothing changes meanwhile.
func pagesNow(t *testing.T, c *postgres.Cluster, relations map[string]wal.RmgrID) (all []savedPage) {
	t.Helper()
	// VACUUM and others leave WAL behind that nobody waits for; a commit that
	// writes waits for all of it.
	emit(t, c, 1)
	lsn := flushLSN(t, c)
	for name, rmgr := range relations {
		rel, err := pageclient.ParseRelation(query(t, c, "SELECT (SELECT oid FROM pg_tablespace WHERE spcname = 'pg_default') || '/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || pg_relation_filenode('"+name+"')"))
		if err != nil {
			t.Fatal(err)
		}
		for _, fork := range []wal.ForkNumber{wal.MainFork, wal.VisibilityMapFork} {
			pages := query(t, c, fmt.Sprintf("SELECT coalesce(string_agg(encode(get_raw_page('%[1]s', '%[2]s', n::int), 'hex'), '' ORDER BY n), '') FROM generate_series(0, pg_relation_size('%[1]s', '%[2]s') / 8192 - 1) n", name, fork))
			b, err := hex.DecodeString(pages)
			if err != nil {
				t.Fatal(err)
			}
			for n := range len(b) / wal.BlockSize {
				all = append(all, savedPage{
					request: pageclient.PageRequest{Rel: rel, Fork: fork, Block: wal.BlockNumber(n), LSN: lsn, Wait: patience},
					rmgr:    rmgr, bytes: b[n*wal.BlockSize : (n+1)*wal.BlockSize],
				})
			}
		}
	}
	return all
}

// differs says how the sink's page differs from the server's, but for what WAL
// does not carry; "" if it does not.
func (s *savedPage) differs(t *testing.T, c *pageclient.Client) string {
	t.Helper()
	res, err := c.Page(t.Context(), s.request)
	if err != nil {
		return err.Error()
	}
	got, want := bytes.Clone(res.GetImage().GetPage()), bytes.Clone(s.bytes)
	if len(got) != wal.BlockSize {
		return fmt.Sprintf("%d bytes", len(got))
	}
	// Without checksums, marking a heap page all visible leaves pd_lsn as it is.
	gotLSN, wantLSN := pdLSN(got), pdLSN(want)
	if heap := s.rmgr == wal.RmgrHeap && s.request.Fork == wal.MainFork; gotLSN > s.request.LSN || gotLSN < wantLSN || gotLSN != wantLSN && !heap {
		return fmt.Sprintf("pd_lsn is %s, want %s", gotLSN, wantLSN)
	}
	for _, p := range [][]byte{got, want} {
		redo.Mask(p, s.rmgr, s.request.Fork, s.request.Block)
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d is %#x, want %#x", i, got[i], want[i])
		}
	}
	return ""
}

// pdLSN is the page's pd_lsn (storage/bufpage.h).
func pdLSN(page []byte) wal.LSN {
	return wal.LSN(binary.LittleEndian.Uint32(page))<<32 | wal.LSN(binary.LittleEndian.Uint32(page[4:]))
}

// TestPagesOfThePast reads every page of a table, its visibility map and its
// indexes as of several moments, after the last of them, and compares them with
// what the server had at each.
func TestPagesOfThePast(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	h := start(t, "run", d.write(allSinks, c.DSN()))
	h.says("caught up", 1)
	pgtest.Exec(t, c, "CREATE EXTENSION pageinspect",
		"CREATE TABLE x (a serial PRIMARY KEY, b text, c int[]) WITH (autovacuum_enabled = off, fillfactor = 80)",
		"CREATE INDEX x_c ON x USING gin (c)")
	relations := map[string]wal.RmgrID{"x": wal.RmgrHeap, "x_pkey": wal.RmgrBtree, "x_c": wal.RmgrGin}
	steps := [][]string{
		{"INSERT INTO x (b, c) SELECT repeat('b', g % 100), ARRAY[g % 7, g % 11] FROM generate_series(1, 1500) g"},
		{"VACUUM (FREEZE) x"},
		{"UPDATE x SET b = 'hot' WHERE a % 10 = 0", "UPDATE x SET b = repeat('moved', 60) WHERE a % 9 = 0"},
		{"CHECKPOINT", "DELETE FROM x WHERE a % 5 = 1", "UPDATE x SET c = ARRAY[a] WHERE a % 4 = 0"},
		{"BEGIN; UPDATE x SET a = a + 10000 WHERE a % 3 = 0; SELECT FROM x WHERE b = 'hot' FOR UPDATE; ROLLBACK", "VACUUM x"},
		{"DELETE FROM x WHERE (ctid::text::point)[0] > 4", "VACUUM x"}, // truncates
		{"INSERT INTO x (b) SELECT 'again' FROM generate_series(1, 1000) g"},
	}
	var moments [][]savedPage
	for _, sql := range steps {
		pgtest.Exec(t, c, sql...)
		moments = append(moments, pagesNow(t, c, relations))
	}
	client, err := pageclient.Dial(d.path("pages/pages.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pages, gone := 0, 0
	for i, now := range moments {
		there := map[pageclient.PageRequest]bool{} // with the LSN of now
		for _, s := range now {
			if diff := s.differs(t, client); diff != "" {
				t.Errorf("relation %s of %s, fork %s, block %d as of %s: %s", s.request.Rel, s.rmgr, s.request.Fork, s.request.Block, s.request.LSN, diff)
			}
			there[s.request] = true
			pages++
		}
		for _, s := range moments[max(i-1, 0)] {
			s.request.LSN = now[0].request.LSN
			if there[s.request] {
				continue
			}
			gone++
			if _, err := client.Page(t.Context(), s.request); pageclient.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "truncated the relation to fewer blocks") {
				t.Errorf("block %d, which the server has no more: %v", s.request.Block, err)
			}
		}
	}
	if gone < 10 {
		t.Errorf("the table lost %d pages, and should have lost most", gone)
	}
	t.Logf("%d pages as of %d moments are as the server had them, %d are gone", pages, len(moments), gone)
	h.stop()
}
