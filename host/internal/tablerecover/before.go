package tablerecover

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

// Before is a moment as a user names it: one of an LSN, a transaction and a time.
type Before struct {
	LSN  wal.LSN
	XID  uint32
	Time time.Time
}

// timeLayouts are those of a time with its zone: RFC 3339, and PostgreSQL's ISO
// style with the forms of a zone that it writes.
func timeLayouts() []string {
	return []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-07", "2006-01-02 15:04:05.999999999 -0700",
		"2006-01-02 15:04:05.999999999-0700", "2006-01-02 15:04:05.999999999 UTC"}
}

// ParseBefore reads an LSN, xid:N, or a time with its zone.
func ParseBefore(s string) (b Before, err error) {
	if n, ok := strings.CutPrefix(s, "xid:"); ok {
		// pg_current_xact_id() tells 64 bits, the WAL has the low 32.
		xid, err := strconv.ParseUint(n, 10, 64)
		if b.XID = uint32(xid); err != nil || b.XID <= frozenXID {
			return b, fmt.Errorf("%q is no transaction: write xid: and a number, as pg_current_xact_id() tells it", s)
		}
		return b, nil
	}
	if b.LSN, err = wal.ParseLSN(s); err == nil {
		if b.LSN == 0 {
			return b, fmt.Errorf("0/0 is no LSN")
		}
		return b, nil
	}
	for _, layout := range timeLayouts() {
		if b.Time, err = time.Parse(layout, s); err == nil {
			return b, nil
		}
	}
	return Before{}, fmt.Errorf("%q is no moment: write an LSN such as 16/B374D848, a time with its zone such as 2026-01-02T15:04:05Z or '2026-01-02 15:04:05+00', or xid:N", s)
}

// Resolve finds the LSN: of a transaction and a time, the start of the commit
// record before which the rows are wanted. note says what was found.
func (b Before) Resolve(ctx context.Context, c *pageclient.Client) (lsn wal.LSN, note string, err error) {
	switch {
	case b.XID != 0:
		res, err := c.LocateXID(ctx, b.XID, 0)
		if err != nil {
			return 0, "", fmt.Errorf("find the end of transaction %d: %w", b.XID, err)
		}
		verb := "committed"
		if res.Aborted {
			verb = "was rolled back, and so changed nothing,"
		}
		return wal.LSN(res.StartLsn), fmt.Sprintf("transaction %d %s at %s, %s", b.XID, verb, pgTime(res.Time), wal.LSN(res.StartLsn)), nil
	case !b.Time.IsZero():
		res, err := c.LocateTime(ctx, b.Time, 0)
		if pageclient.Code(err) == codes.NotFound {
			return b.atTheEnd(ctx, c)
		}
		if err != nil {
			return 0, "", fmt.Errorf("find the first commit at or after %s: %w", b.Time.Format(time.RFC3339Nano), err)
		}
		return wal.LSN(res.StartLsn), fmt.Sprintf("the first commit at or after that time is transaction %d's at %s, %s", res.Xid, pgTime(res.Time), wal.LSN(res.StartLsn)), nil
	}
	return b.LSN, "", nil
}

// atTheEnd answers the last LSN that the sink has: no commit came after the time.
func (b Before) atTheEnd(ctx context.Context, c *pageclient.Client) (wal.LSN, string, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return 0, "", err
	}
	lsn := wal.LSN(st.LastValidLsn)
	return lsn, fmt.Sprintf("the sink has no commit at or after %s: these are the rows as of the end of its WAL, %s", b.Time.Format(time.RFC3339Nano), lsn), nil
}

// pgTime is a time of the WAL's, microseconds since 2000-01-01, for people.
func pgTime(usec int64) string {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(usec/1e6) * time.Second).Add(time.Duration(usec%1e6) * time.Microsecond).Format(time.RFC3339Nano)
}
