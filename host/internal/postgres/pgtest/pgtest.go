// Package pgtest gives a test a PostgreSQL server of its own.
//
// A server that cannot be had fails the test: no test is skipped for want of
// PostgreSQL. When a test has failed, the end of its server's log is in the
// test's output.
package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
)

// cleanupTimeout bounds the end of a server after its test.
const cleanupTimeout = time.Minute

// New makes a cluster, not started yet, that is destroyed when the test ends.
func New(t testing.TB, change ...func(*postgres.Options)) *postgres.Cluster {
	t.Helper()
	var opt postgres.Options
	for _, f := range change {
		f(&opt)
	}
	c, err := postgres.New(t.Context(), opt)
	if err != nil {
		t.Fatalf("make a PostgreSQL cluster: %v", err)
	}
	destroyAfter(t, c)
	return c
}

// Start makes a cluster and starts it; it is destroyed when the test ends.
func Start(t testing.TB, change ...func(*postgres.Options)) *postgres.Cluster {
	t.Helper()
	c := New(t, change...)
	if err := c.Start(t.Context()); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return c
}

// Standby makes a streaming standby of primary and starts it; it is destroyed
// when the test ends.
func Standby(t testing.TB, primary *postgres.Cluster, change ...func(*postgres.Options)) *postgres.Cluster {
	t.Helper()
	c, err := primary.Standby(t.Context(), change...)
	if err != nil {
		t.Fatalf("make a standby: %v", err)
	}
	destroyAfter(t, c)
	if err := c.Start(t.Context()); err != nil {
		t.Fatalf("start the standby: %v", err)
	}
	return c
}

func destroyAfter(t testing.TB, c *postgres.Cluster) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of the server in %s:\n%s", c.Dir(), c.Log())
		}
		// The test's own context is done by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupTimeout)
		defer cancel()
		if err := c.Destroy(ctx); err != nil {
			t.Errorf("destroy the cluster: %v", err)
		}
	})
}

// Exec runs SQL, each argument as one simple query.
func Exec(t testing.TB, c *postgres.Cluster, sql ...string) {
	t.Helper()
	if err := c.Exec(t.Context(), sql...); err != nil {
		t.Fatal(err)
	}
}
