package audit_test

import (
	"testing"

	"github.com/walplex/walplex/plugins/audit"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/sinktest"
)

func TestContract(t *testing.T) {
	sinktest.Run(t, func() *sdk.Definition { return audit.Definition(durable.OS{}) }, sinktest.WithFS(audit.Definition))
}
