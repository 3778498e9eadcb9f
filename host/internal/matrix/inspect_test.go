//go:build matrix

package matrix

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/rmgrdesc"
)

// compareInspect compares each record with what pg_walinspect says of it. PG14
// has none: there the reader's own checks are all.
func compareInspect(t *testing.T, c *postgres.Cluster, start, end wal.LSN) {
	var ours []string
	kinds := map[string]bool{}
	records(t, c, start, end, func(r *wal.Record) {
		ours = append(ours, describe(r))
		kinds[r.RmgrID.String()+"/"+r.Operation()] = true
	})
	t.Logf("%d records of %d kinds", len(ours), len(kinds))
	if len(ours) < 10000 || len(kinds) < 95 {
		t.Errorf("the workload reaches %d records of %d kinds only", len(ours), len(kinds))
	}
	if c.Install().Major() < 15 {
		return
	}
	theirs := inspect(t, c, start, end)
	if len(ours) != len(theirs) {
		t.Errorf("%d records, pg_walinspect has %d", len(ours), len(theirs))
	}
	const shown = 5
	different := 0
	for i := range min(len(ours), len(theirs)) {
		if ours[i] = serverTime(ours[i]); ours[i] == theirs[i] {
			continue
		}
		if different++; different <= shown {
			t.Errorf("record %d\n got: %s\nwant: %s", i, ours[i], theirs[i])
		}
	}
	if different > 0 {
		t.Errorf("%d records differ", different)
	}
}

// inspect is what pg_walinspect says, a line a record.
func inspect(t *testing.T, c *postgres.Cluster, start, end wal.LSN) []string {
	t.Helper()
	if err := c.Exec(t.Context(), "CREATE EXTENSION pg_walinspect"); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT concat_ws('|', start_lsn, end_lsn, prev_lsn, xid, resource_manager, record_type,
		record_length, main_data_length, fpi_length, coalesce(description, ''), coalesce(block_ref, ''))
		FROM pg_get_wal_records_info($1::text::pg_lsn, $2::text::pg_lsn)`, start.String(), end.String())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// describe is the line that inspect gives of a record.
func describe(r *wal.Record) string {
	var blocks strings.Builder
	fpi := 0
	for i := range r.Blocks {
		b := &r.Blocks[i]
		if b.ID > 0 {
			blocks.WriteByte(' ')
		}
		fmt.Fprintf(&blocks, "blkref #%d: rel %s fork %s blk %d", b.ID, b.Rel, b.Fork, b.Block)
		if b.HasImage() {
			fpi += int(b.ImageLen)
			describeImage(&blocks, b)
		}
	}
	fields := []string{
		r.StartLSN.String(), r.EndLSN.String(), r.PrevLSN.String(), strconv.Itoa(int(r.XID)), r.RmgrID.String(), r.Operation(),
		strconv.Itoa(int(r.TotalLen)), strconv.Itoa(int(r.MainDataLen)), strconv.Itoa(fpi),
		string(rmgrdesc.Append(nil, r)), blocks.String(),
	}
	return strings.Join(fields, "|")
}

// describeImage is XLogRecGetBlockRefInfo's account of an image.
func describeImage(w *strings.Builder, b *wal.BlockRef) {
	verification := ""
	if !b.ApplyImage() {
		verification = " for WAL verification"
	}
	fmt.Fprintf(w, " (FPW%s); hole: offset: %d, length: %d", verification, b.HoleOffset, b.HoleLen)
	method := ""
	switch b.Flags & wal.BlockImageCompressed {
	case 0:
		return
	case wal.BlockImagePGLZ:
		method = "pglz"
	case wal.BlockImageLZ4:
		method = "lz4"
	case wal.BlockImageZSTD:
		method = "zstd"
	}
	fmt.Fprintf(w, ", compression saved: %d, method: %s", wal.BlockSize-int(b.HoleLen)-int(b.ImageLen), method)
}

var waldumpTime = regexp.MustCompile(`(\d\d:\d\d:\d\d)(\.\d+)? UTC`)

// serverTime writes times as the server does: pg_waldump has all six digits and
// the zone's name.
func serverTime(line string) string {
	return waldumpTime.ReplaceAllStringFunc(line, func(s string) string {
		m := waldumpTime.FindStringSubmatch(s)
		return m[1] + strings.TrimRight(m[2], "0.") + "+00"
	})
}
