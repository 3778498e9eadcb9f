// Package e2e holds the tests of the whole way: the walplex program, real
// PostgreSQL servers, sinks in processes of their own, and everything that can
// happen to them.
package e2e
