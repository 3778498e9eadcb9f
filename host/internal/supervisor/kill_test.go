package supervisor

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wire"
)

// quick is how long Kill may take.
const quick = time.Second

func killQuickly(t *testing.T, p *Process) {
	t.Helper()
	begin := time.Now()
	p.Kill()
	if took := time.Since(begin); took > quick {
		t.Errorf("Kill took %s", took)
	}
	if running(p.PID()) {
		t.Errorf("process %d is still there", p.PID())
	}
}

func TestKill(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		p := start(t, spec(t, "sink"), quiet)
		killQuickly(t, p)
		killQuickly(t, p)
	})
	t.Run("stopped", func(t *testing.T) {
		p := start(t, spec(t, "sink"), quiet)
		if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		killQuickly(t, p)
	})
	t.Run("dead", func(t *testing.T) {
		p := start(t, spec(t, "sink"), quiet)
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the process is gone", func() bool { return !running(p.PID()) })
		killQuickly(t, p)
	})
	t.Run("run by a script", func(t *testing.T) {
		s := spec(t, "sink")
		s.Args = []string{s.Path}
		// Not exec: the shell stays and is what the supervisor knows.
		s.Path = writeProgram(t, []byte("#!/bin/sh\n\"$1\"\nexit $?\n"), 0o755)
		killQuickly(t, start(t, s, quiet))
	})
}

var childPID = regexp.MustCompile(`msg="a child" pid=(\d+)`)

// startWithChild starts a sink that has started a process which holds its output.
func startWithChild(t *testing.T, config string) (p *Process, child int) {
	t.Helper()
	log, logger := newJournal()
	p = start(t, spec(t, "sink"), logger)
	if _, err := p.Client().Open(t.Context(), &wire.OpenRequest{ConfigJson: []byte(config)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sink tells its child's number", func() bool { return childPID.MatchString(log.String()) })
	child, err := strconv.Atoi(childPID.FindStringSubmatch(log.String())[1])
	if err != nil {
		t.Fatal(err)
	}
	return p, child
}

func TestKillReachesChildren(t *testing.T) {
	p, child := startWithChild(t, `{"child":true}`)
	killQuickly(t, p)
	eventually(t, "the child is gone", func() bool { return !running(child) })
}

// A process that has left the sink's group is out of reach, and not waited for.
func TestKillDoesNotWaitForDaemons(t *testing.T) {
	t.Parallel()
	p, child := startWithChild(t, `{"child":true,"daemon":true}`)
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	begin := time.Now()
	p.Kill()
	if took := time.Since(begin); took > killTimeout+quick || running(p.PID()) {
		t.Errorf("after %s the sink's process runs: %t", took, running(p.PID()))
	}
}

// The host does not get the chance to end its sinks.
func TestNoOrphanAfterSIGKILL(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Env = append(os.Environ(), actEnv+"=host", "SINK="+self, "SOCKETS="+socketDir(t))
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	sink, parseErr := strconv.Atoi(strings.TrimSpace(line))
	alive := parseErr == nil && running(sink)
	if killErr := host.Process.Kill(); err != nil || !alive || killErr != nil {
		t.Fatalf("the host says %q, %v; kill: %v", line, err, killErr)
	}
	_ = host.Wait()
	eventually(t, "the sink is gone", func() bool { return !running(sink) })
}

// Ctrl-C, and a service manager's stop, reach the sinks too: ending them is the
// host's to do.
func TestSignalsAreTheHosts(t *testing.T) {
	p := start(t, spec(t, "sink"), quiet)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(p.PID(), sig); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Client().Describe(t.Context(), &wire.DescribeRequest{}); err != nil {
			t.Fatalf("after %s: %v", sig, err)
		}
	}
	if group, err := syscall.Getpgid(p.PID()); err != nil || group != p.PID() {
		t.Errorf("process %d is of group %d, %v", p.PID(), group, err)
	}
}

// Starting and ending leaves nothing behind: not in this process, nor in the
// directory of the sockets.
func TestNoLeak(t *testing.T) {
	s, failing := spec(t, "sink"), spec(t, "noise")
	once := func() {
		p, err := Start(t.Context(), s, quiet)
		if err != nil {
			t.Fatal(err)
		}
		p.Kill()
		startError(t, failing, true)
	}
	// The garbage collector closes files that were forgotten.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	once()
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	const starts = 20
	for range starts / 2 {
		once()
	}
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "as many open files as before", func() bool { return openFiles(t) <= files })
	for _, dir := range []string{s.SocketDir, failing.SocketDir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left in the directory of the sockets: %v, %v", left, err)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
