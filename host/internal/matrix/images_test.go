//go:build matrix

package matrix

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

// imageSQL writes pages of every access method, the last record of which carries
// an image, and reads none of them again: a reader would set hints.
var imageSQL = []string{
	"ALTER SYSTEM SET full_page_writes = on",
	"SELECT pg_reload_conf()",
	"CREATE EXTENSION pageinspect",
	"CREATE TABLE img (id int, t text, p point, a int[])",
	"INSERT INTO img SELECT g, md5(g::text), point(g % 30, g / 30), array[g, g % 9] FROM generate_series(1, 3000) g",
	"VACUUM FREEZE img",
	"CHECKPOINT",
	"SET wal_compression = on; CREATE INDEX img_btree ON img (t)",
	"CREATE INDEX img_btree2 ON img (id)",
	"SET wal_compression = on; CREATE INDEX img_gist ON img USING gist (p)",
	"CREATE INDEX img_gin ON img USING gin (a)",
	"CREATE INDEX img_spgist ON img USING spgist (p)",
	"CREATE INDEX img_bloom ON img USING bloom (id)",
	"DELETE FROM img WHERE ctid = '(0,1)'",
	"SET wal_compression = on; DELETE FROM img WHERE ctid = '(5,1)'",
}

type page struct {
	rel   wal.RelFileLocator
	fork  wal.ForkNumber
	block wal.BlockNumber
}

type image struct {
	lsn           wal.LSN
	content       []byte
	hole, holeLen int
}

// compareImages compares each image behind which nothing happened to its page
// with the server's page.
func compareImages(t *testing.T, c *postgres.Cluster, start, end wal.LSN) {
	last := map[page]image{}
	var images wal.Images
	records(t, c, start, end, func(r *wal.Record) {
		for i := range r.Blocks {
			b := &r.Blocks[i]
			p := page{b.Rel, b.Fork, b.Block}
			delete(last, p)
			if !b.ApplyImage() {
				continue
			}
			content := make([]byte, wal.BlockSize)
			if err := images.Restore(content, r, b); err != nil {
				t.Fatal(err)
			}
			last[p] = image{r.EndLSN, content, int(b.HoleOffset), int(b.HoleLen)}
		}
	})
	compared := map[string]int{}
	for p, im := range last {
		if p.fork == wal.FSMFork {
			continue // it changes without WAL
		}
		name, content := serverPage(t, c, p)
		if name == "" {
			continue
		}
		alike(im, content)
		if !bytes.Equal(im.content, content) {
			t.Errorf("%s fork %s block %d: the image that ends at %s is not the server's page: %s", name, p.fork, p.block, im.lsn, firstDifference(im.content, content))
		}
		compared[name]++
	}
	t.Logf("images compared: %v", compared)
	for _, name := range []string{"img", "img_btree", "img_btree2", "img_gist", "img_gin", "img_spgist", "img_bloom"} {
		if compared[name] == 0 {
			t.Errorf("no image of %s was compared", name)
		}
	}
}

// serverPage is the page as it is in the server, if its relation is one of
// imageSQL's.
func serverPage(t *testing.T, c *postgres.Cluster, p page) (name string, content []byte) {
	t.Helper()
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	err = conn.QueryRow(t.Context(), `SELECT coalesce((SELECT relname::text FROM pg_class WHERE relfilenode = $1 AND relname LIKE 'img%'), '')`,
		uint32(p.rel.Rel)).Scan(&name)
	if err != nil {
		t.Fatal(err)
	}
	if name == "" {
		return "", nil
	}
	if err := conn.QueryRow(t.Context(), `SELECT get_raw_page($1, $2, $3::int)`, name, p.fork.String(), int32(p.block)).Scan(&content); err != nil {
		t.Fatal(err)
	}
	return name, content
}

func firstDifference(a, b []byte) string {
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf("from offset %d, % x instead of % x", i, a[i:min(i+16, len(a))], b[i:min(i+16, len(b))])
		}
	}
	return ""
}

// gistBuildLSN is GistBuildLSN (access/gist.h): what GiST's sorted build leaves
// as LSN on the pages that it has logged.
const gistBuildLSN = 1

// alike makes of the image what the server makes of it, and clears in both what
// no image holds: the checksum, which is the server's own affair, and the bytes
// of the hole.
func alike(im image, content []byte) {
	lsn := im.lsn
	if got := binary.LittleEndian.Uint32(content[4:]); got == gistBuildLSN {
		lsn = gistBuildLSN
	}
	binary.LittleEndian.PutUint32(im.content[0:], uint32(lsn>>32)) // pd_lsn, its high half first
	binary.LittleEndian.PutUint32(im.content[4:], uint32(lsn))
	copy(im.content[8:10], content[8:10])
	clear(content[im.hole : im.hole+im.holeLen])
}
