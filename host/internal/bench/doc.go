// Command bench measures Walplex against its peers and prints tables of ratios,
// as Markdown:
//
//	go run ./host/internal/bench [--pairs N] [--binary WALPLEX] [--stall TIME] [--lag BYTES] [TABLE …]
//
// Without a name it makes every table. A table is one file here, and one line in
// tables; what it needs is in the bench that it is given:
//
//	walplex        the path of a walplex built from this tree
//	pairs          runs of ours and of the peer in turn, see below
//	server         a throwaway PostgreSQL server, and pgbench's load on it
//	quietPairs     pairs that others disturbed least, where no server is at work
//	newCorpus      a server at rest with 2 GB of WAL, and runs that receive it
//	newCommits     a server whose commits wait for whoever receives
//	measure        what a process cost: time elapsed, CPU, memory
//
// # Method
//
// A machine that others use too, or whose clock speed changes, is not as fast now
// as a minute ago. So ours and the peer's runs take turns, in pairs whose order
// alternates, after one run of each that does not count; a ratio is taken in each
// pair, and the table has the median of these, not the ratio of two medians. Both
// do the same work on the same data, which the page cache holds. CPU is user and
// system time of the process and of its children that it waited for.
//
// Where ours and the peer do all the work themselves, pairs during which other
// processes took CPU time are made again, a few times, and the table says how
// much others took of the CPUs in the worst pair that counts. Above a few per
// cent, times elapsed say little, and of CPU time still something.
//
// Where a server is at work too, its CPU time is in neither side's; what others
// take of the machine meanwhile is in both.
//
// The tables:
//
//	waldump      walplex waldump against pg_waldump
//	catchup      an archive, and all built-in sinks, against pg_receivewal
//	fanout       eight sinks against one
//	transport    the shared ring against gRPC
//	filter       what a filter costs for each record
//	synchronous  commits that wait for walplex, and for pg_receivewal
//	stall        what a stopped sink costs the others (--stall)
//	memory       the host's memory while a sink falls behind (--lag)
//	redo         package replay against PostgreSQL's crash recovery
//	pages        the page cache: ingest, space on disk, reads
//
// What a table says is only as good as the machine, which stands above it.
package main
