package segmentfile_test

import (
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk/sinktest"
)

func TestContract(t *testing.T) { sinktest.Run(t, segmentfile.Definition) }
