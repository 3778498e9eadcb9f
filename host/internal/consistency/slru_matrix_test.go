//go:build matrix

package consistency

import (
	"context"
	"strings"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal/slru"
)

// After all records every page of every SLRU is as every major's server has it, and as
// its recovery makes it.
func TestSLRUMajors(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name   string
		major  int
		obtain func(context.Context, string, int) (postgres.Install, error)
	}{
		{"14", 14, servers.NPM}, {"15", 15, servers.NPM}, {"16", 16, servers.NPM},
		{"17", 17, servers.NPM}, {"17Distribution", 17, servers.Apt},
		{"18", 18, servers.NPM}, {"18Distribution", 18, servers.Apt},
	} {
		t.Run(s.name, func(t *testing.T) {
			in, err := s.obtain(t.Context(), cache, s.major)
			if err != nil {
				t.Fatal(err)
			}
			w, c := slruServer(t, in, nil)
			verifySLRU(t, w, c, slru.MultiXactOffsets, slru.MultiXactMembers, slru.CommitTs)
			if !strings.HasSuffix(s.name, "Distribution") {
				return // it has no pg_resetwal
			}
			t.Run("wraparound", func(t *testing.T) {
				w, c := slruServer(t, in, nearWraparound(t))
				verifySLRU(t, w, c, slruKinds...)
			})
		})
	}
}
