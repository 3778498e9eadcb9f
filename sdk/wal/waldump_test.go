package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pgWaldump finds the pg_waldump of any installed major: on the PATH, or where
// Debian puts it.
func pgWaldump(t *testing.T) (string, Version) {
	t.Helper()
	candidates, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_waldump")
	if p, err := exec.LookPath("pg_waldump"); err == nil {
		candidates = append(candidates, p)
	}
	for _, p := range candidates {
		out, err := exec.Command(p, "--version").Output()
		if err != nil {
			continue
		}
		m := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
		if m == nil {
			continue
		}
		if n, _ := strconv.Atoi(string(m[1])); Version(n).Magic() != 0 {
			return p, Version(n)
		}
	}
	t.Fatal("no pg_waldump of PostgreSQL 14 to 18 found: install postgresql-15")
	return "", 0
}

// walWriter lays records out in a segment of 1 MiB that begins at LSN
// 0/100000 on timeline 1.
type walWriter struct {
	version Version
	seg     []byte
	prev    LSN
}

const (
	writerSegmentSize = SegmentSize(1 << 20)
	writerStart       = LSN(1 << 20)
)

// append adds a record and answers where it starts. It sets its xl_prev and
// xl_crc.
func (w *walWriter) append(rec []byte) LSN {
	rec = slices.Clone(rec)
	w.seg = append(w.seg, make([]byte, -len(w.seg)&(MaxAlign-1))...)
	w.pageHeader(0)
	start := writerStart + LSN(len(w.seg))
	binary.LittleEndian.PutUint64(rec[8:], uint64(w.prev))
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(crc32.Checksum(rec[RecordHeaderSize:], table), table, rec[:20])
	binary.LittleEndian.PutUint32(rec[20:], crc)
	w.prev = start
	for len(rec) > 0 {
		w.pageHeader(len(rec))
		n := min(len(rec), PageSize-len(w.seg)%PageSize)
		w.seg = append(w.seg, rec[:n]...)
		rec = rec[n:]
	}
	return start
}

// pageHeader begins a page where one has to; rem is what continues there.
func (w *walWriter) pageHeader(rem int) {
	if len(w.seg)%PageSize != 0 {
		return
	}
	le := binary.LittleEndian
	var info uint16
	if rem > 0 {
		info |= 1 // XLP_FIRST_IS_CONTRECORD
	}
	first := len(w.seg) == 0
	if first {
		info |= 2 // XLP_LONG_HEADER
	}
	h := le.AppendUint16(nil, w.version.Magic())
	h = le.AppendUint16(h, info)
	h = le.AppendUint32(h, 1)
	h = le.AppendUint64(h, uint64(writerStart)+uint64(len(w.seg)))
	h = le.AppendUint64(h, uint64(rem)) // and padding
	if first {
		h = le.AppendUint64(h, 4711)
		h = le.AppendUint32(h, uint32(writerSegmentSize))
		h = le.AppendUint32(h, PageSize)
	}
	w.seg = append(w.seg, h...)
}

// file writes the segment, filled up with zeros, and answers its path.
func (w *walWriter) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), writerSegmentSize.FileName(1, 1))
	seg := append(slices.Clone(w.seg), make([]byte, int(writerSegmentSize)-len(w.seg))...)
	if err := os.WriteFile(path, seg, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// statsLine is a row of pg_waldump --stats=record: resource manager,
// operation, count.
var statsLine = regexp.MustCompile(`(?m)^(\w+)/(.+?) +(\d+) +\( *[\d.]+\)`)

// waldumpOperations asks pg_waldump for its names of every operation: it
// counts the records of a segment in which operation i of each resource
// manager occurs i+1 times.
func waldumpOperations(t *testing.T, tool string, v Version) string {
	t.Helper()
	w := walWriter{version: v}
	ids := []RmgrID{}
	for id := range RmgrMaxBuiltin + 1 {
		ids = append(ids, id)
	}
	if v >= PG15 {
		ids = append(ids, 128, 255)
	}
	for _, id := range ids {
		for op := range 16 {
			if id == RmgrXLOG && op == 4 || id == RmgrTransaction && op >= 8 {
				continue // ends the segment; is no part of the operation
			}
			for range op + 1 {
				w.append(buildRecord(id, uint8(op<<4), 700))
			}
		}
	}
	w.append(buildRecord(RmgrXLOG, 4<<4, 0)) // once, as the reader leaves the segment after it
	out, err := exec.Command(tool, "--stats=record", w.file(t)).Output()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, m := range statsLine.FindAllStringSubmatch(string(out), -1) {
		n, _ := strconv.Atoi(m[3])
		if m[1] == "XLOG" && m[2] == "SWITCH" {
			n = 4 + 1
		}
		fmt.Fprintf(&b, "%s %02X %s\n", m[1], (n-1)<<4, m[2])
	}
	return strings.TrimSpace(b.String())
}

// waldumpReason runs pg_waldump on a segment and answers why it stopped,
// without the LSN.
func waldumpReason(t *testing.T, tool, segment string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(tool, segment)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil {
		return ""
	}
	_, reason, _ := strings.Cut(strings.TrimSpace(stderr.String()), "error in WAL record at ")
	_, reason, _ = strings.Cut(reason, ": ")
	if i := strings.LastIndex(reason, " at "); i >= 0 {
		reason = reason[:i]
	}
	return reason
}
