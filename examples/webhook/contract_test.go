package main

import (
	"testing"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/sinktest"
)

// TestContract holds the sink to what every sink promises: see go doc of sinktest.
func TestContract(t *testing.T) {
	rc := newReceiver(t)
	sinktest.Run(t, func() *sdk.Definition { return definition(durable.OS{}) },
		sinktest.WithFS(definition), sinktest.Config(map[string]any{"url": rc.URL}))
}
