//go:build matrix

package e2e

import (
	"strconv"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/postgres"
)

// TestPagesOfMajors holds the page cache against servers of every major.
func TestPagesOfMajors(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	for major := 14; major <= 18; major++ {
		in, err := servers.NPM(t.Context(), cache, major)
		if err != nil {
			t.Fatal(err)
		}
		of := func(o *postgres.Options) { o.Install = in }
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Run("standbys", func(t *testing.T) { pagesOfPausedStandbys(t, server(t, of)) })
		})
	}
}
