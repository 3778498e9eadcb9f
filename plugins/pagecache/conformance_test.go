package pagecache_test

import (
	"testing"

	"github.com/walplex/walplex/plugins/pagecache"
	"github.com/walplex/walplex/sdk/sinktest"
)

func TestContract(t *testing.T) { sinktest.Run(t, pagecache.Definition) }

func TestContractFromBackup(t *testing.T) {
	sinktest.Run(t, pagecache.Definition, sinktest.Config(map[string]any{"base_backup": true}))
}
