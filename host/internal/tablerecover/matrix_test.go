//go:build matrix

package tablerecover

import (
	"fmt"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
)

// TestMajors: the same against servers of every major.
func TestMajors(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	for major := 14; major <= 18; major++ {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			in, err := servers.NPM(t.Context(), cache, major)
			if err != nil {
				t.Fatal(err)
			}
			t.Run("types", func(t *testing.T) { testTypes(t, in) })
			t.Run("random", func(t *testing.T) { testRandom(t, in) })
			t.Run("rows", func(t *testing.T) { testRows(t, in) })
		})
	}
}
