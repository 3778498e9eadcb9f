package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

const (
	mainSession = "main"
	segmentSize = wal.SegmentSize(SegmentSizeMB << 20)
)

// runner runs the script on a cluster.
type runner struct {
	c        *postgres.Cluster
	tools    postgres.Install
	session  string
	sessions map[string]*pgx.Conn
	parts    []Part
	begun    Part // Last is not known yet
}

// connect opens the current session where it is not open.
func (r *runner) connect(ctx context.Context, extra ...string) error {
	if r.sessions[r.session] != nil {
		return nil
	}
	conn, err := r.c.Connect(ctx, extra...)
	if err != nil {
		return err
	}
	if r.sessions == nil {
		r.sessions = map[string]*pgx.Conn{}
	}
	r.sessions[r.session] = conn
	return nil
}

func (r *runner) close(ctx context.Context, name string) error {
	conn := r.sessions[name]
	if conn == nil {
		return fmt.Errorf("no session %s", name)
	}
	delete(r.sessions, name)
	return conn.Close(ctx)
}

func (r *runner) closeAll(ctx context.Context) error {
	var err error
	for name := range r.sessions {
		err = errors.Join(err, r.close(context.WithoutCancel(ctx), name))
	}
	r.session = mainSession
	return err
}

// exec runs one statement in the current session.
func (r *runner) exec(ctx context.Context, statement string) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	_, err := r.sessions[r.session].PgConn().Exec(ctx, statement).ReadAll()
	return err
}

// restart ends all sessions and restarts the server; between, where it is not
// nil, runs while it is stopped.
func (r *runner) restart(ctx context.Context, mode postgres.StopMode, between func() error) error {
	if err := r.closeAll(ctx); err != nil {
		return err
	}
	if err := r.c.Stop(ctx, mode); err != nil {
		return err
	}
	if between != nil {
		if err := between(); err != nil {
			return err
		}
	}
	return r.c.Start(ctx)
}

// position is the segment of the next byte of WAL, and the bytes left in it.
func (r *runner) position(ctx context.Context) (segno wal.SegNo, left int, err error) {
	lsn, err := r.c.CurrentLSN(ctx)
	if err != nil {
		return 0, 0, err
	}
	return segmentSize.SegNo(lsn), int(segmentSize) - int(segmentSize.Offset(lsn)), nil
}

// begin begins the recording with a segment's first record.
func (r *runner) begin(ctx context.Context) error {
	r.begun.Timeline = 1
	if r.tools.BinDir == "" {
		if _, err := r.c.SwitchWAL(ctx); err != nil {
			return err
		}
		// Where the switch fell on a segment's very start there was nothing to switch.
		segno, left, err := r.position(ctx)
		if left != int(segmentSize) {
			segno++
		}
		r.begun.First = segno
		return err
	}
	if err := r.restart(ctx, postgres.Fast, func() error { return r.reset(ctx) }); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(r.c.WALDir(), "00000001*"))
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New("pg_resetwal left no segment"), err)
	}
	_, r.begun.First, err = segmentSize.ParseFileName(filepath.Base(files[0]))
	return err
}

// Where the counters stand when the recording begins. A page of the server's
// SLRUs holds 32768 transactions' states, 819 commit times, 2048 multixacts or
// 1636 members, and a segment 32 pages (access/slru.h, clog.c, commit_ts.c,
// multixact.c). So the next transaction begins a page of states, and the 128th
// after it a segment of commit times, the fourth next multixact a segment; what was before lies in segments that can
// be truncated.
const (
	nextXID         = 803 * 32768 // and 1004 * 32 * 819 = nextXID + 128
	nextMultiXact   = 32*2048 - 3
	nextMultiMember = 32 * 1636
)

// reset moves the counters while the server is stopped.
func (r *runner) reset(ctx context.Context) error {
	args := []string{"--pgdata=" + r.c.DataDir(),
		"--next-transaction-id=" + strconv.Itoa(nextXID),
		"--multixact-ids=" + strconv.Itoa(nextMultiXact) + ",1",
		"--multixact-offset=" + strconv.Itoa(nextMultiMember)}
	out, err := r.c.Tool(ctx, "env", append([]string{filepath.Join(r.tools.BinDir, "pg_resetwal")}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_resetwal: %w\n%s", err, out)
	}
	// The page that the next multixact belongs to has to exist.
	offsets := filepath.Join(r.c.DataDir(), "pg_multixact", "offsets", "0000")
	return os.Truncate(offsets, 32*wal.PageSize)
}

// overwrite has the server crash when a record's first part, up to a segment's
// end, is on disk and the rest is not.
func (r *runner) overwrite(ctx context.Context) error {
	segno, left, err := r.position(ctx)
	if err != nil {
		return err
	}
	const beyond = 3 * wal.PageSize
	message := "SELECT pg_logical_emit_message(true, '', repeat('o', " + strconv.Itoa(left+beyond) + "))"
	if err := r.exec(ctx, message); err != nil {
		return err
	}
	return r.restart(ctx, postgres.Immediate, func() error {
		return os.Remove(r.walFile(1, segno+1))
	})
}

// promote has the server end its timeline, as a standby whose primary is gone.
func (r *runner) promote(ctx context.Context) error {
	if err := r.endPart(ctx); err != nil {
		return err
	}
	err := r.restart(ctx, postgres.Fast, func() error {
		out, err := r.c.Tool(ctx, "touch", filepath.Join(r.c.DataDir(), "standby.signal")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.begun = Part{Timeline: 2, First: r.parts[0].Last + 1}
	return r.c.Promote(ctx)
}

// endPart ends the part with the last complete segment.
func (r *runner) endPart(ctx context.Context) error {
	segno, _, err := r.position(ctx)
	if err != nil {
		return err
	}
	part := r.begun
	part.Last = segno - 1
	for _, name := range part.Names() {
		if path := filepath.Join(r.c.WALDir(), name); !exists(path) {
			return fmt.Errorf("%s is missing", path)
		}
	}
	r.parts = append(r.parts, part)
	return nil
}

// walFile is the path of a segment in pg_wal.
func (r *runner) walFile(tli wal.TimelineID, segno wal.SegNo) string {
	return filepath.Join(r.c.WALDir(), segmentSize.FileName(tli, segno))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
