// Package demo shows the whole way at work on a throwaway PostgreSQL server, and
// proves the result:
//
//	pgbench ─▶ PostgreSQL ─WAL─▶ stream ─┬─▶ segment_file "archive" ── compared with pg_wal
//	                                     ├─▶ page_cache   "pages"   ── compared with the data directory
//	                                     └─▶ audit        "trail"   ── compared with pg_waldump
//
// The page cache begins with a base backup, and so has every page: no checkpoint
// and no image is asked for. In the middle of the load a table is dropped, and its
// rows are read from the page cache as they were just before (package
// tablerecover): they are what COPY wrote in the transaction that dropped it. After
// the server's end, every page of its data directory is compared (package pages).
//
// The stream is configured by a file and runs as walplex run would run it. The
// server is stopped while the stream is attached, which it can only be when the
// stream has confirmed everything; the sinks are stopped after it.
//
// Everything lies in one directory, which is removed at the end whatever
// happens, unless it is to be kept:
//
//	/tmp/walplex-demo-1234567890/
//	    walplex.hcl        the configuration
//	    host.log           what the stream and its sinks logged
//	    archive/           of segment_file
//	    pages/             of page_cache
//	    trail/             of audit
//	    walplex-pg-…/      the cluster; postgres/ when it is kept
package demo

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/walplex/walplex/host/internal/stream"
)

// Options of Run.
type Options struct {
	Load  time.Duration // how long pgbench runs, whole seconds
	Scale int           // of pgbench's tables, 100,000 accounts each
	Keep  bool          // leave the directory where it is
	Out   io.Writer     // a terminal gets a table that is drawn anew, anything else lines
	// Plan reads and checks the configuration in a file.
	Plan func(ctx context.Context, path string, log *slog.Logger) ([]stream.Config, error)
}
