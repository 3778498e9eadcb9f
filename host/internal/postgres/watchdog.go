package postgres

import (
	"fmt"
	"io"
	"os/exec"
)

// watchdogScript outlives us: it reads the postmaster's process id, or an empty
// line when that has ended, each time it changes. The end of its input is our
// death. Then it stops the server at once, waits for it (10 s at most: whoever
// should have reaped it may not exist), and removes the directory.
const watchdogScript = `
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	n=0
	while kill -0 "$pid" 2>/dev/null && [ "$n" -lt 100 ]; do sleep 0.1; n=$((n+1)); done
fi
rm -rf -- "$1"
`

// watchdog is the process that cleans up after us.
type watchdog struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// startWatchdog starts it as the server's user, so that it can do no more than
// that user.
func startWatchdog(u serverUser, dir string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "walplex-watchdog", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = watchdogAttr(u)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog of the cluster in %s: %w", dir, err)
	}
	return &watchdog{cmd, stdin}, nil
}

// serverIs tells it the postmaster's process id, 0 for none.
func (w *watchdog) serverIs(pid int) error {
	if pid == 0 {
		_, err := io.WriteString(w.stdin, "\n")
		return err
	}
	_, err := fmt.Fprintf(w.stdin, "%d\n", pid)
	return err
}

// close ends it before it does anything.
func (w *watchdog) close() {
	if w == nil || w.cmd.ProcessState != nil {
		return
	}
	_ = w.cmd.Process.Kill()
	_ = w.stdin.Close()
	_ = w.cmd.Wait() // its status is our own signal
}
