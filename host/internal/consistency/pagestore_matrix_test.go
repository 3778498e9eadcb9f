//go:build matrix

package consistency

import (
	"fmt"
	"testing"

	"github.com/walplex/walplex/host/internal/golden/servers"
)

// The same of every major's server.
func TestStoreOfPagesOfMajors(t *testing.T) {
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
			verifyStore(t, in)
		})
	}
}
