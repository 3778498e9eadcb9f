package supervisor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/sdk/wire"
	"github.com/walplex/walplex/sdk/wire/ring"
)

// The descriptor of the shared ring reaches the sinks that are to have it, and
// no other.
func TestRing(t *testing.T) {
	r, err := ring.Create(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	for _, given := range []bool{true, false} {
		s := spec(t, "environment")
		if given {
			s.Ring = r.File()
		}
		p := start(t, s, quiet)
		if got := strings.Contains(p.Describe().Version, wire.RingEnv+"="); got != given {
			t.Errorf("given %t: the environment is\n%s", given, p.Describe().Version)
		}
		res, err := p.Client().Open(t.Context(), &wire.OpenRequest{ConfigJson: []byte(`{}`), Transports: []string{wire.TransportRing, wire.TransportGRPC}})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Transport == wire.TransportRing; got != given {
			t.Errorf("given %t: the sink chose %q", given, res.Transport)
		}
		// What it sees of the memory is mapped for reading, and no descriptor is left
		// that what it starts itself would inherit.
		maps, err := os.ReadFile("/proc/" + pid(p) + "/maps")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(maps)) {
			if strings.Contains(line, "memfd:walplex-ring") {
				if n++; !strings.Contains(line, " r--s ") {
					t.Errorf("mapped as %s", line)
				}
			}
		}
		if (n > 0) != given {
			t.Errorf("given %t: %d mappings", given, n)
		}
		if got := linksTo(t, "/proc/"+pid(p)+"/fd", "memfd:walplex-ring"); got != 0 {
			t.Errorf("given %t: %d descriptors are open", given, got)
		}
	}
}

// A process that was killed is dead before its end was collected, and one that is
// stopped is not.
func TestDead(t *testing.T) {
	p, child := startWithChild(t, `{"child":true,"daemon":true}`) // which holds its pipes, so that it is not collected
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }()
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if p.Dead() {
		t.Error("a process that is stopped passes for dead")
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.AwaitDeath()
	if !p.Dead() || running(p.PID()) {
		t.Error("a process that was killed passes for alive")
	}
	q := start(t, spec(t, "sink"), quiet)
	if q.Dead() {
		t.Error("a process that runs passes for dead")
	}
	if q.Kill(); !q.Dead() {
		t.Error("a process that was killed and collected passes for alive")
	}
	q.AwaitDeath()
}

func pid(p *Process) string { return strconv.Itoa(p.PID()) }

// linksTo counts the entries of a directory of links that name the target.
func linksTo(t *testing.T, dir, target string) (n int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.Contains(link, target) {
			n++
		}
	}
	return n
}
