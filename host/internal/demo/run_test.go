package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/plugins/audit"
	"github.com/walplex/walplex/sdk/durable"
)

// runLimit bounds a whole run, on a machine that is busy.
const runLimit = 3 * time.Minute

// walplex builds the program.
func walplex(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "walplex")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/walplex/walplex/host/cmd/walplex").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

var keptPattern = regexp.MustCompile(`(?m)^Kept: (.*)$`)

// TestCommand runs walplex demo as its users do.
func TestCommand(t *testing.T) {
	program := walplex(t)
	t.Run("whole", func(t *testing.T) { testWhole(t, program) })
	t.Run("sabotage", func(t *testing.T) { testSabotage(t, program) })
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) { testSignal(t, program, sig) })
	}
	t.Run("flags", func(t *testing.T) { testFlags(t, program) })
}

// testWhole looks at what a run says and at what it keeps.
func testWhole(t *testing.T, program string) {
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "demo", "--seconds", "2", "--scale", "1", "--keep").CombinedOutput()
	m := keptPattern.FindSubmatch(out)
	if m == nil {
		t.Fatalf("%v; it does not say what it kept:\n%s", err, out)
	}
	dir := string(m[1])
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.ContainsRune(out, '\x1b') {
		t.Errorf("there are escape sequences in what is no terminal:\n%q", out)
	}
	for _, want := range []string{
		`(?m)^  ok  start the stream and its sinks +[\d.]+ s  base backup at 0/[0-9A-F]+$`,
		`(?m)^  yes     the archive is pg_wal, byte for byte +\d segments, [\d,]+ bytes$`,
		`(?m)^  yes     the audit trail has every record once +[\d,]+ records, none missing$`,
		`(?m)^  yes     the page cache has every page right +[\d,]+ pages, 0 different$`,
		`(?m)^  yes     the dropped table's rows are all back +5,500 rows, the same SHA-256$`,
		`(?m)^  yes     the server stopped under the stream +fast shutdown in \d+\.\d\d s$`,
		`(?m)^  load    [\d,]+ bytes of WAL, [\d,]+ records, [\d,]+ transactions/s$`,
		`(?m)^          [\d.]+ MB/s and [\d,]+ records/s for [\d.]+ s, until all was flushed$`,
		`(?m)^      [\d.]+ [kM]?B received at [\d.]+ MB/s, 0/[0-9A-F]+; all flushed to 0/`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the output does not match %s:\n%s", want, out)
		}
	}
	for line := range strings.Lines(string(out)) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line has %d columns, and a terminal 80: %q", n, line)
		}
	}
	// Twice: what COPY said before the drop, and what was read back.
	if sums := sumPattern.FindAllSubmatch(out, -1); len(sums) != 2 || !bytes.Equal(sums[0][1], sums[1][1]) {
		t.Errorf("the checksums of the table are %q:\n%s", sums, out)
	}
	t.Run("damage", func(t *testing.T) { testDamage(t, dir) })
	t.Run("pages", func(t *testing.T) { testPages(t, dir) })
}

var sumPattern = regexp.MustCompile(`5,500 rows, (SHA-256 [0-9a-f]{8})`)

// testDamage proves again what a run has kept, then damages it and sees each
// proof fail.
func testDamage(t *testing.T, dir string) {
	d := keptRun(t, dir)
	if _, err := d.proveKept(t); err != nil {
		t.Fatalf("what was kept is not proved again: %v", err)
	}
	at := int(d.span().to-d.control.size.Start(d.span().to)) / 2
	partial := d.control.size.FileName(d.control.timeline, d.control.size.SegNo(d.span().to)) + ".partial"
	flip(t, filepath.Join(d.archiveDir(), partial), at)
	if c, err := d.proveKept(t); c != archiveClaim || err == nil || !strings.Contains(err.Error(), partial+" differs from") || !strings.Contains(err.Error(), "at byte "+strconv.Itoa(at)+", LSN 0/") {
		t.Errorf("with a damaged byte: %v", err)
	}
	flip(t, filepath.Join(d.archiveDir(), partial), at)

	files, err := filepath.Glob(filepath.Join(d.trailDir(), "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the trail has the files %q: %v", files, err)
	}
	whole := readFile(t, files[0])
	lines := bytes.SplitAfter(whole, []byte("\n"))
	at = 50 // a line that is as long as the one before it, which can stand for it
	for len(lines[at-1]) != len(lines[at]) {
		at++
	}
	other := `{"other":"` + strings.Repeat(".", len(lines[at])-len(`{"other":""}`)-1) + "\"}\n" // no record's line
	for _, c := range []struct{ instead, want string }{
		{"", files[0] + ": it has "},
		{other, fmt.Sprintf("%s:%d: a record is missing", files[0], at+2)},
		{string(lines[at-1]), fmt.Sprintf("%s:%d: the record at ", files[0], at+1)},
	} {
		writeFile(t, files[0], bytes.Join([][]byte{bytes.Join(lines[:at], nil), []byte(c.instead), bytes.Join(lines[at+1:], nil)}, nil))
		if p, err := d.proveKept(t); p != trailClaim || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %q instead of line %d: %v; want %q", c.instead, at+1, err, c.want)
		}
	}
	writeFile(t, files[0], whole)

	// Records that are missing at the ends leave a trail without a gap.
	report, err := audit.Verify(t.Context(), durable.OS{}, d.trailDir(), audit.VerifyOptions{})
	if err != nil || report.Problem != nil {
		t.Fatal(err, report.Problem)
	}
	for name, change := range map[string]func(r *audit.Report){
		"first": func(r *audit.Report) { r.First++ },
		"last":  func(r *audit.Report) { r.Last-- },
		"count": func(r *audit.Report) { r.Records-- },
		"ident": func(r *audit.Report) { r.SystemID++ },
		"tail":  func(r *audit.Report) { r.Behind = 1 },
	} {
		r := *report
		change(&r)
		if compareTrail(&r, d.control.systemID, d.dump, d.span().to) == nil {
			t.Errorf("a trail with another %s is taken for whole", name)
		}
	}
}

// kept is a run of which only the directory is left.
type kept struct {
	demo
	walDir  string
	version int // of the server, as the protocol tells it
}

func keptRun(t *testing.T, dir string) *kept {
	t.Helper()
	tools := pgtest.New(t)
	k := &kept{demo: demo{dir: dir}, walDir: filepath.Join(dir, "postgres", "data", "pg_wal"), version: tools.Install().Version}
	out, err := tools.Tool(t.Context(), "pg_controldata", filepath.Dir(k.walDir)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if k.control, err = parseControl(out); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify(t.Context(), durable.OS{}, k.trailDir(), audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	k.redo = r.First
	waldump := tools.Tool(t.Context(), "pg_waldump", dumpArgs(k.walDir, k.control, k.redo)...)
	if k.dump, err = runDump(t.Context(), waldump, 0, 0); err != nil {
		t.Fatal(err)
	}
	if k.dump.last != k.control.checkpoint {
		t.Fatalf("pg_waldump ends at %s, not with the checkpoint at %s", k.dump.last, k.control.checkpoint)
	}
	return k
}

// proveKept answers the first claim that does not hold.
func (k *kept) proveKept(t *testing.T) (claim, error) {
	t.Helper()
	if _, err := compareArchive(t.Context(), k.walDir, k.archiveDir(), k.span()); err != nil {
		return archiveClaim, err
	}
	if _, err := k.verifyTrail(t.Context()); !errors.Is(err, errDiffers) && err != nil {
		t.Fatal(err)
	}
	err := k.proofs[trailClaim].err
	k.proofs[trailClaim] = proof{}
	return trailClaim, err
}

var (
	placePattern = regexp.MustCompile(`^in (/tmp/walplex-demo-\d+), which is removed at the end$`)
	pidPattern   = regexp.MustCompile(`msg="sink attached".* pid=(\d+)`)
)

// testSignal ends a run under load: nothing of it may be left, neither processes
// nor files.
func testSignal(t *testing.T, program string, sig syscall.Signal) {
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo", "--seconds", "600", "--scale", "1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir, pids := untilLoad(t, bufio.NewScanner(out))
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "ended early: "+sig.String()+" signal received") {
		t.Errorf("exit status %d, want 1: %s", code, stderr.String())
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

// untilLoad reads a run's output until the tables are filled, and answers its
// directory and the processes of its server and sinks.
func untilLoad(t *testing.T, lines *bufio.Scanner) (dir string, pids []int) {
	t.Helper()
	dir, data := untilLine(t, lines, "load: pgbench -i")
	for _, m := range pidPattern.FindAllSubmatch(readFile(t, filepath.Join(dir, "host.log")), -1) {
		pids = append(pids, number(t, string(m[1])))
	}
	if len(pids) != 3 {
		t.Fatalf("the sinks are %d", pids)
	}
	pid, _, _ := strings.Cut(string(readFile(t, filepath.Join(data, "postmaster.pid"))), "\n")
	return dir, append(pids, number(t, pid))
}

// untilLine reads a run's output until a step is done, and answers its directory
// and that of its server's data.
func untilLine(t *testing.T, lines *bufio.Scanner, step string) (dir, data string) {
	t.Helper()
	for lines.Scan() && !strings.Contains(lines.Text(), step) {
		if m := placePattern.FindStringSubmatch(lines.Text()); m != nil {
			dir = m[1]
		}
	}
	if dir == "" {
		t.Fatalf("the run does not say where it is: %v", lines.Err())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "data", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the servers are %q: %v", files, err)
	}
	return dir, filepath.Dir(files[0])
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// testFlags checks that the command refuses what makes no sense.
func testFlags(t *testing.T, program string) {
	for _, args := range [][]string{{"--seconds", "0"}, {"--seconds", "3601"}, {"--scale", "0"}, {"surplus"}} {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"demo"}, args...)...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 {
			t.Errorf("%q: exit status %d, want 2: %s", args, code, out)
		}
	}
}
