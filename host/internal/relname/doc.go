// Package relname looks up the relations that filters name, in the server's
// catalog over ordinary connections, and again whenever the WAL shows that they
// may have got other files.
//
//	record ─▶ filter.Match ─ Names.Stale ─▶ Watcher ─▶ catalog
//	                ▲                          │
//	                └────── Names.Add ─────────┘
//
// A new file shows in the WAL long before the transaction that makes it commits,
// and a commit before it is visible (a synchronous commit waits for our flush in
// between). So a [Watcher] that has been told asks at once and then again and
// again, from [FirstWait] doubling up to [MostWait], for [Settle] after the last
// telling. Beside that it asks every [Refresh], which finds renamed tables too.
// A server that cannot be asked is asked again at [RetryWait] at most; names stand
// for the files found before.
//
// The package filter says what filters by name cannot promise.
package relname
