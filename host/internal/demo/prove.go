package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/walplex/walplex/plugins/audit"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// readWAL has pg_waldump read what the server has written, from where the slot
// began to the end, which must be the shutdown checkpoint that pg_control names.
func (d *demo) readWAL(ctx context.Context) error {
	out, err := d.cluster.Tool(ctx, "pg_controldata", d.cluster.DataDir()).Output()
	if err != nil {
		return fmt.Errorf("pg_controldata: %w", err)
	}
	if d.control, err = parseControl(out); err != nil {
		return fmt.Errorf("pg_controldata: %w", err)
	}
	args := dumpArgs(d.cluster.WALDir(), d.control, d.redo)
	if d.dump, err = runDump(ctx, d.cluster.Tool(ctx, "pg_waldump", args...), d.load.from, d.load.to); err != nil {
		return err
	}
	if d.dump.last != d.control.checkpoint {
		return fmt.Errorf("pg_waldump ends with the record at %s (%s), but the server's last one is the checkpoint at %s",
			d.dump.last, d.dump.describes, d.control.checkpoint)
	}
	return nil
}

// proveArchive compares the archive with pg_wal up to the end of WAL.
func (d *demo) proveArchive(ctx context.Context) (string, error) {
	a, err := compareArchive(ctx, d.cluster.WALDir(), d.archiveDir(), d.span())
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return d.proved(archiveClaim, fmt.Sprintf("%s segments, %s bytes", group(int64(a.segments)), group(a.bytes)), err)
}

func (d *demo) span() span {
	return span{timeline: d.control.timeline, size: d.control.size, from: d.redo, to: d.dump.end(d.control.size)}
}

// proveTrail has pg_waldump read the WAL and compares the trail with that.
func (d *demo) proveTrail(ctx context.Context) (string, error) {
	if err := d.readWAL(ctx); err != nil {
		return "", err
	}
	return d.verifyTrail(ctx)
}

func (d *demo) verifyTrail(ctx context.Context) (string, error) {
	r, err := audit.Verify(ctx, durable.OS{}, d.trailDir(), audit.VerifyOptions{})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err == nil {
		err = compareTrail(r, d.control.systemID, d.dump, d.span().to)
	}
	return d.proved(trailClaim, fmt.Sprintf("%s records, none missing", group(d.dump.records)), err)
}

// compareTrail compares what was found in a trail with what pg_waldump says of
// the same WAL, which ends at end.
func compareTrail(r *audit.Report, systemID uint64, d dump, end wal.LSN) error {
	switch {
	case r.Problem != nil:
		return errors.New(r.Problem.String())
	case r.SystemID != systemID:
		return fmt.Errorf("it is of the system %d, the server is %d", r.SystemID, systemID)
	case r.First != d.first:
		return fmt.Errorf("its first record is at %s, pg_waldump's at %s", r.First, d.first)
	case r.Last != end:
		return fmt.Errorf("its last record ends at %s, the server's WAL at %s", r.Last, end)
	case r.Records != d.records:
		return fmt.Errorf("it has %d records from %s to %s, pg_waldump counts %d", r.Records, r.First, r.Last, d.records)
	case r.Behind != 0:
		return fmt.Errorf("%d bytes lie behind the durable position %s", r.Behind, r.Position)
	}
	return nil
}

// control is what pg_control says of a server that was shut down.
type control struct {
	systemID   uint64
	timeline   wal.TimelineID
	size       wal.SegmentSize
	checkpoint wal.LSN // start of the shutdown checkpoint's record
}

var controlPattern = regexp.MustCompile(`(?m)^([^:]+): +(.*)$`)

// parseControl reads pg_controldata's output.
func parseControl(out []byte) (c control, err error) {
	values := map[string]string{}
	for _, m := range controlPattern.FindAllStringSubmatch(string(bytes.ReplaceAll(out, []byte("\r"), nil)), -1) {
		values[m[1]] = strings.TrimSpace(m[2])
	}
	if st := values["Database cluster state"]; st != "shut down" {
		return c, fmt.Errorf("the cluster is %q, want %q", st, "shut down")
	}
	for _, f := range []struct {
		name string
		to   any
	}{
		{"Database system identifier", &c.systemID},
		{"Latest checkpoint's TimeLineID", &c.timeline},
		{"Bytes per WAL segment", &c.size},
	} {
		if _, err := fmt.Sscan(values[f.name], f.to); err != nil {
			return c, fmt.Errorf("%s is %q: %w", f.name, values[f.name], err)
		}
	}
	if !c.size.Valid() {
		return c, fmt.Errorf("%d is no segment size", c.size)
	}
	c.checkpoint, err = wal.ParseLSN(values["Latest checkpoint location"])
	return c, err
}
