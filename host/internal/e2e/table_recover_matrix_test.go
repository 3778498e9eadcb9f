//go:build matrix

package e2e

import (
	"fmt"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
)

// TestTableRecoverOfMajors: the same beside servers of every major.
func TestTableRecoverOfMajors(t *testing.T) {
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
			testTableRecover(t, in)
		})
	}
}
