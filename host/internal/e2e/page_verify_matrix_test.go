//go:build matrix

package e2e

import (
	"strconv"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/postgres"
)

// TestPageVerifyOfMajors holds every page of servers of every major against a
// cache.
func TestPageVerifyOfMajors(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	for major := 14; major <= 18; major++ {
		in, err := servers.NPM(t.Context(), cache, major)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			c := server(t, func(o *postgres.Options) { o.Install = in }, forVerify)
			d, h := workThrough(t, c, pagesFromBackup)
			if err := c.Stop(t.Context(), postgres.Fast); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, status := walplexOut(t, "page", "verify", "--from", d.path("pages/pages.sock"), c.DataDir())
			if status != 0 {
				t.Errorf("status %d, %s%s", status, stdout, stderr)
			}
			t.Log(stdout)
			h.stop()
		})
	}
}
