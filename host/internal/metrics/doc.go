// Package metrics serves what monitoring asks a host for, over HTTP:
//
//	/metrics   Prometheus' text format; names by its conventions
//	/healthz   200 while the process answers
//	/readyz    200 when every stream is streaming and every required sink is live,
//	           else 503 with the reasons, a line each; as JSON to those that
//	           accept application/json
//
// All are made of one status.Report a request, so that the numbers of a scrape
// belong together. A value that is not known is absent, not 0. LSNs are gauges of
// bytes since 0/0; above 2^53 (8 PiB of WAL) they lose their last digits.
//
// Nothing here asks who the client is, so only addresses of this machine are
// listened on (package main checks that).
package metrics
