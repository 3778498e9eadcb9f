package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRecoverTableExample runs the script that gets a dropped table back.
func TestRecoverTableExample(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "../../../examples/recover-table.sh")
	cmd.Env = append(os.Environ(), "WALPLEX="+program)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all 4500 rows of orders are back, byte for byte") {
		t.Fatalf("%v\n%s", err, out)
	}
}
