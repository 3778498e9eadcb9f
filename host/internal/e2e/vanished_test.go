package e2e

import (
	"os"
	"syscall"
	"testing"
)

// TestVanishedDirectory: the directories of running sinks vanish, as when a file
// system is not mounted any more. Nothing is begun anew in their place; when they
// are back the sinks go on by themselves, and nothing is missing.
func TestVanishedDirectory(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	h := start(t, "run", d.write(allSinks, c.DSN()))
	h.says("caught up", 1)
	initPgbench(t, c)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	for _, name := range []string{"archive", "pages", "trail"} {
		if err := os.Rename(d.path(name), d.path(name+".away")); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(h.sinkPID(name), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	before := restartLSN(t, c)
	initPgbench(t, c)
	for _, name := range []string{"archive", "pages", "trail"} {
		h.says(d.path(name)+" is empty", 1)
	}
	if now := restartLSN(t, c); now != before {
		t.Errorf("the server was told %s, it had been told %s", now, before)
	}
	for _, name := range []string{"archive", "pages", "trail"} {
		if err := os.RemoveAll(d.path(name)); err != nil { // what is there is not more than a lock
			t.Fatal(err)
		}
		if err := os.Rename(d.path(name+".away"), d.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	h.stop()
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)
}
