package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// kept is how many bytes of segments an archive has, and the first of them.
func kept(t *testing.T, dir string) (total int64, first wal.SegNo) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		_, no, err := segment.ParseFileName(strings.TrimSuffix(e.Name(), wal.PartialSuffix))
		info, gone := e.Info()
		if err != nil || gone != nil {
			continue
		}
		if total += info.Size(); first == 0 {
			first = no
		}
	}
	return total, first
}

// TestRetention: an archive stays below its size, but not while another sink is
// behind: that one loses nothing, and when it has caught up, what it needed goes.
// What is left is whole at every time, and `archive prune` takes more of it.
func TestRetention(t *testing.T) {
	const limit = 3 << 20
	c := server(t)
	d := newDirs(t)
	dir := d.path("archive")
	archive := archiveSink(d)
	archive.ConfigJSON = fmt.Appendf(nil, `{"directory":%q,"retention":{"size":%d,"interval":"20ms"}}`, dir, limit)
	p := runLimited(t, c, patient(), archive, trailSink(d))
	pid := p.sinkPID("trail")
	p.says("caught up", 1)
	below := func(what string) {
		end := flushLSN(t, c)
		slotReaches(t, c, "walplex", end)
		trailReaches(t, p.s, end)
		eventually(t, what, func() bool { n, _ := kept(t, dir); return n <= limit })
	}
	initPgbench(t, c)
	below("the archive is small")
	p.says("WAL was removed from the archive", 1)

	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	initPgbench(t, c)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	p.says("the archive takes more than its retention's size", 1)
	at := p.s.Status().Sinks[1].Flushed
	if n, first := kept(t, dir); n <= 2*limit || first > segment.SegNo(at) {
		t.Errorf("the archive has %d bytes from segment %X on, and the trail needs WAL from %s on", n, first, at)
	}
	wantWhole(t, verifyArchive(t, dir))
	if out, err := prune(t, "--yes", "--keep-size", "1MiB", dir); err == nil || !strings.Contains(out, "a sink has the directory open") {
		t.Errorf("archive prune beside the sink: %v, %s", err, out)
	}

	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	below("the archive is small again")
	end := flushLSN(t, c)
	trailReaches(t, p.s, end)
	if err := p.finish(); err != nil {
		t.Error(err)
	}
	wantWhole(t, verifyArchive(t, dir))
	verifyTrail(t, c, d.path("trail"), end)

	_, before := kept(t, dir)
	out, err := prune(t, "--yes", "--keep-size", "1B", dir)
	if err != nil || !strings.Contains(out, filepath.Join(dir, segment.FileName(1, before))+"\n") || !strings.Contains(out, "needs its newest segments") {
		t.Errorf("archive prune: %v, %s", err, out)
	}
	if n, _ := kept(t, dir); n > 2<<20 {
		t.Errorf("%d bytes are left", n)
	}
	wantWhole(t, verifyArchive(t, dir))
}

func prune(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, append([]string{"archive", "prune"}, args...)...).CombinedOutput()
	return string(out), err
}
