package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRough runs the script that treats sinks and host roughly under load.
func TestRough(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "../../../examples/rough.sh", "5")
	cmd.Env = append(os.Environ(), "WALPLEX="+program)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "byte for byte") || !strings.Contains(string(out), "no record is missing") {
		t.Fatalf("%v\n%s", err, out)
	}
}
