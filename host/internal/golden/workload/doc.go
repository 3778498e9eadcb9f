// Package workload makes a PostgreSQL server write WAL of every built-in
// resource manager, and of as many kinds of record as it can be made to emit, in
// a few segments of 1 MiB.
//
// What it does is in workload.sql: SQL, a statement ends with a semicolon at a
// line's end, and lines that begin with a backslash:
//
//	\session NAME [dbname=DB]   the statements that follow are this session's; main is the first
//	\close NAME                 closes the session; the next statement is main's
//	\since N, \before N         until \end: only for these majors
//	\when METHOD                until \end: only for servers with this wal_compression
//	\begin                      the recording begins here
//	\conf NAME=VALUE …          changes the configuration of the running server
//	\restart [NAME=VALUE …]     stops the server, changes its configuration, starts it
//	\crash                      stops it in mode immediate, and starts it
//	\overwrite                  crashes in mid-record, and loses the record's end
//	\promote                    ends the timeline, without a standby's help
//
// Where pg_resetwal of the server's major is at hand, the recording begins close
// to the end of a page of the transactions' commit state, of their commit times
// and of the multixacts, so that their records, of truncation too, come with few
// transactions.
package workload

import (
	"context"
	_ "embed"
	"errors"
	"strings"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
)

//go:embed workload.sql
var script string

// SegmentSizeMB is the wal_segment_size that the workload is made for.
const SegmentSizeMB = 1

// Options are those of a cluster that the workload can run on.
func Options(in postgres.Install) postgres.Options {
	return postgres.Options{
		Install:       in,
		SegmentSizeMB: SegmentSizeMB,
		Conf: map[string]string{
			"autovacuum":                "off",
			"checkpoint_timeout":        "1d",
			"full_page_writes":          "off", // but where the workload wants images
			"jit":                       "off",
			"max_prepared_transactions": "4",
			"max_replication_slots":     "4",
			"max_wal_senders":           "4",
			"max_wal_size":              "1GB",
			"track_commit_timestamp":    "on",
			"wal_keep_size":             "1GB", // keeps what is recorded
			"wal_level":                 "logical",
		},
	}
}

// Part is the complete segments of one timeline, First to Last.
type Part struct {
	Timeline wal.TimelineID `json:"timeline"`
	First    wal.SegNo      `json:"first"`
	Last     wal.SegNo      `json:"last"`
}

// Names are those of the part's segment files.
func (p Part) Names() []string {
	var names []string
	for segno := p.First; segno <= p.Last; segno++ {
		names = append(names, segmentSize.FileName(p.Timeline, segno))
	}
	return names
}

// Run runs the workload on a cluster made with Options, and started. Tools may be
// another installation of the same major that has pg_resetwal; its zero value
// means that there is none. The server runs afterwards. What was recorded lies in
// its pg_wal, and the parts say where, in order.
func Run(ctx context.Context, c *postgres.Cluster, tools postgres.Install) ([]Part, error) {
	return run(ctx, c, tools, script)
}

// RunOneTimeline is Run up to the promotion: there is one part.
func RunOneTimeline(ctx context.Context, c *postgres.Cluster, tools postgres.Install) ([]Part, error) {
	first, _, _ := strings.Cut(script, "\n\\promote\n")
	return run(ctx, c, tools, first+"\n")
}

func run(ctx context.Context, c *postgres.Cluster, tools postgres.Install, script string) ([]Part, error) {
	r := &runner{c: c, tools: tools, session: mainSession}
	err := r.play(ctx, script)
	err = errors.Join(err, r.closeAll(ctx))
	if err == nil {
		err = r.endPart(ctx)
	}
	return r.parts, err
}
