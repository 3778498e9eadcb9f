package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var docCommands = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")

// TestSinkDocs runs each command of the pages for authors, in the order in which a
// reader meets them. The program under test has no version that could be downloaded,
// so that the project is made with the checkout.
func TestSinkDocs(t *testing.T) {
	c := server(t)
	initPgbench(t, c)
	script := "set -eux\n"
	for _, page := range []string{"WRITE_A_SINK.md", "CONTRACT.md", "PUBLISH.md"} {
		blocks := docCommands.FindAllStringSubmatch(readFile(t, filepath.Join(checkout(t), "sdk", "docs", page)), -1)
		if len(blocks) == 0 {
			t.Fatalf("%s has no commands", page)
		}
		for _, b := range blocks {
			script += b[1]
		}
	}
	script = strings.Replace(script, "plugin new hello", "plugin new --sdk "+checkout(t)+" hello", 1)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "WALPLEX_DSN="+c.DSN())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"Heap":`) || !strings.Contains(string(out), "recorded  hello") {
		t.Fatalf("%v\n%s", err, out)
	}
}
