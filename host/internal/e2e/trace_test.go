package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/host/internal/postgres/pgtest"
	"github.com/walplex/walplex/sdk/wal"
)

// tracedCalls are those that can make, change, sync or name a file, or send
// something to the server. Those with a question mark are not on every machine.
const tracedCalls = "openat,write,pwrite64,fsync,fdatasync,ftruncate,lseek,mkdirat,linkat,renameat,renameat2,unlinkat,connect,sendto," +
	"writev,pwritev,pwritev2,sendmsg,sendmmsg,sendfile,copy_file_range,splice,openat2," +
	"?open,?creat,?mkdir,?link,?rename,?unlink,?rmdir,truncate"

// traced starts walplex under strace; pid is walplex itself.
func traced(t *testing.T, trace string, args ...string) (h *host, pid int) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed: 'make setup' installs it, or 'apt-get install strace'")
	}
	// The strings hold a status and a slot of position.json. With --seccomp-bpf
	// calls that are not traced cost nothing.
	h = startCommand(t, strace, append([]string{"-f", "-y", "-xx", "-s", "320", "--seccomp-bpf", "-e", "signal=none",
		"-e", "trace=" + tracedCalls, "-o", trace, "sh", "-c", `echo "traced: $$"; exec "$0" "$@"`, program}, args...)...)
	line := regexp.MustCompile(`traced: (\d+)`)
	eventually(t, "walplex runs under strace", func() bool {
		select {
		case <-h.done:
			t.Fatalf("strace has ended: is ptrace allowed here?\n%s", h.log())
		default:
		}
		if m := line.FindStringSubmatch(h.log()); m != nil {
			pid, _ = strconv.Atoi(m[1])
		}
		return pid != 0
	})
	return h, pid
}

// TestNothingIsConfirmedBeforeItIsSynced watches the system calls of the host and
// its sinks under load, with two of the sinks killed in between: at each standby
// status, what it confirms must have been made durable by calls that had returned.
func TestNothingIsConfirmedBeforeItIsSynced(t *testing.T) {
	c := server(t)
	pgtest.Exec(t, c, "SELECT pg_create_physical_replication_slot('walplex', true)")
	first := restartLSN(t, c)
	initPgbench(t, c)
	d := newDirs(t)
	var err error
	if d.root, err = filepath.EvalSymlinks(d.root); err != nil { // as the trace has it
		t.Fatal(err)
	}
	conf := d.write(strings.Replace(allSinks, `directory = "ROOT/trail"`, "\ndirectory = \"ROOT/trail\"\nrotate_bytes = \"1MiB\"\n", 1), c.DSN())
	trace := filepath.Join(t.TempDir(), "trace")

	h, pid := traced(t, trace, "run", conf)
	h.says("caught up", 1)
	wait := load(t, c, 3)
	h.killSink("archive")
	h.killSink("trail")
	for range leastStatuses { // however slow the disk is
		pgtest.Exec(t, c, "SELECT pg_logical_emit_message(true, 'test', 'so that the position moves')")
		slotReaches(t, c, "walplex", flushLSN(t, c))
	}
	wait()
	end := flushLSN(t, c)
	slotReaches(t, c, "walplex", end)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.wants(0)
	compareArchive(t, c, d.path("archive"), end)
	verifyTrail(t, c, d.path("trail"), end)

	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := parseTrace(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	ev := gatherEvidence(t, d.root, segment.Start(first), steps)
	v := checkTrace(steps, ev)
	for _, p := range v.problems {
		t.Error(p)
	}
	if t.Failed() {
		return
	}
	v.sees(t, end)
	seedFaults(t, steps, ev)
}

func restartLSN(t *testing.T, c *postgres.Cluster) wal.LSN {
	t.Helper()
	s, err := c.QueryString(t.Context(), "SELECT restart_lsn FROM pg_replication_slots")
	if err != nil {
		t.Fatal(err)
	}
	lsn, err := wal.ParseLSN(s)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// What a trace must show at least for the test to mean anything.
const (
	leastStatuses = 20
	leastSyncs    = 20 // of each sink
)

// sees asserts that the trace shows the statuses and syncs that there must have
// been.
func (v *verdict) sees(t *testing.T, end wal.LSN) {
	t.Helper()
	different := map[wal.LSN]bool{}
	var last wal.LSN
	for _, st := range v.told {
		if st.flush != 0 {
			different[st.flush] = true
			last = max(last, st.flush)
		}
	}
	if len(different) < leastStatuses {
		t.Errorf("the trace has %d statuses that confirm %d LSNs, want %d at least", len(v.told), len(different), leastStatuses)
	}
	if last < end {
		t.Errorf("the last LSN that the trace shows confirmed is %s, but the server was told of %s", last, end)
	}
	sinks := map[string]int{}
	for path, n := range v.syncs {
		for _, sink := range []string{"/archive/", "/trail/", "/pages/"} {
			if strings.Contains(path, sink) {
				sinks[sink] += n
			}
		}
	}
	for _, sink := range []string{"/archive/", "/trail/", "/pages/"} {
		if sinks[sink] < leastSyncs {
			t.Errorf("the trace has %d syncs in %s, want %d at least", sinks[sink], sink, leastSyncs)
		}
	}
	t.Logf("%d statuses that confirm %d LSNs, syncs: %v", len(v.told), len(different), sinks)
}

// seedFaults takes every kind of sync out of the trace in turn: that must be
// seen each time.
func seedFaults(t *testing.T, steps []traceStep, ev evidence) {
	t.Helper()
	for _, kind := range []string{
		`/archive/[0-9A-F]{24}\.partial`, `/archive`,
		`/trail/.*\.jsonl`, `/trail/position\.json`, `/trail`,
		`/pages/values/\d+`, `/pages/values`, `/pages/index/\d+\.log`, `/pages/index`, `/pages`, ``,
	} {
		path := regexp.MustCompile("^" + regexp.QuoteMeta(ev.root) + kind + "$")
		var left []traceStep
		for _, s := range steps {
			if (s.name == "fsync" || s.name == "fdatasync") && path.MatchString(s.fdPath(0)) {
				continue
			}
			left = append(left, s)
		}
		if len(left) == len(steps) {
			t.Errorf("the trace has no sync of ROOT%s", kind)
		}
		if v := checkTrace(left, ev); len(v.problems) == 0 {
			t.Errorf("without the syncs of ROOT%s nothing is found wrong", kind)
		}
	}
}

// story is a trace made by hand, of a host that does everything right: the first
// segment is filled, named and confirmed, and the second one's beginning. FLUSH
// stands for a status.
const story = `
1 connect(5<socket:[77]>, {sa_family=AF_UNIX, sun_path="/pg/.s.PGSQL.5432"}, 110) = 0
1 write(5<socket:[77]>, "\x00\x00\x00\x29"..., 41) = 41
2 mkdirat(AT_FDCWD</>, "/r/archive", 0700) = 0
3 mkdirat(AT_FDCWD</>, "/r/pages", 0700) = 0
4 mkdirat(AT_FDCWD</>, "/r/trail", 0700) = 0
4 fsync(9</r>) = 0
3 mkdirat(AT_FDCWD</>, "/r/pages/values", 0700) = 0
3 mkdirat(AT_FDCWD</>, "/r/pages/index", 0700) = 0
3 fsync(9</r/pages>) = 0
3 openat(AT_FDCWD</>, "/r/pages/index/000002.log", O_RDWR|O_CREAT|O_EXCL, 0666) = 6</r/pages/index/000002.log>
3 fsync(8</r/pages/index>) = 0
4 openat(AT_FDCWD</>, "/r/trail/position.json", O_RDWR|O_CREAT|O_TRUNC, 0600) = 7</r/trail/position.json>
4 pwrite64(7</r/trail/position.json>, "  "..., 8192, 0) = 8192
1 FLUSH(0)
2 openat(AT_FDCWD</>, "/r/archive/000000010000000000000001.partial", O_RDWR|O_CREAT|O_EXCL, 0600) = 6</r/archive/000000010000000000000001.partial>
2 pwrite64(6</r/archive/000000010000000000000001.partial>, "", 8192, 0) = 8192
2 fdatasync(6</r/archive/000000010000000000000001.partial>) = 0
2 fsync(9</r/archive>) = 0
3 openat(AT_FDCWD</>, "/r/pages/values/0000000001", O_RDWR|O_CREAT|O_EXCL, 0666) = 7</r/pages/values/0000000001>
3 pwrite64(7</r/pages/values/0000000001>, "", 500, 0) = 500
3 fdatasync(7</r/pages/values/0000000001>) = 0
3 fsync(9</r/pages/values>) = 0
3 write(6</r/pages/index/000002.log>, "", 200) = 200
3 fdatasync(6</r/pages/index/000002.log>) = 0
4 openat(AT_FDCWD</>, "/r/trail/00000001-0000000000100028.jsonl", O_RDWR|O_CREAT|O_EXCL, 0600) = 6</r/trail/00000001-0000000000100028.jsonl>
4 pwrite64(6</r/trail/00000001-0000000000100028.jsonl>, "", 300, 0) = 300
4 fdatasync(6</r/trail/00000001-0000000000100028.jsonl>) = 0
4 fsync(9</r/trail>) = 0
4 pwrite64(7</r/trail/position.json>, "{\"lsn\":\"0/101000\",\"file\":\"00000001-0000000000100028.jsonl\",\"offset\":300}  "..., 4096, 4096) = 4096
4 fdatasync(7</r/trail/position.json>) = 0
1 FLUSH(101800)
2 pwrite64(6</r/archive/000000010000000000000001.partial>, "", 1040384, 8192) = 1040384
2 fdatasync(6</r/archive/000000010000000000000001.partial>) = 0
2 linkat(AT_FDCWD</>, "/r/archive/000000010000000000000001.partial", AT_FDCWD</>, "/r/archive/000000010000000000000001", 0) = 0
2 fsync(9</r/archive>) = 0
2 unlinkat(AT_FDCWD</>, "/r/archive/000000010000000000000001.partial", 0) = 0
1 FLUSH(200000)
2 openat(AT_FDCWD</>, "/r/archive/000000010000000000000002.partial", O_RDWR|O_CREAT|O_EXCL, 0600) = 6</r/archive/000000010000000000000002.partial>
2 pwrite64(6</r/archive/000000010000000000000002.partial>, "", 4096, 0) = 4096
2 fdatasync(6</r/archive/000000010000000000000002.partial>) = 0
2 fsync(9</r/archive>) = 0
3 pwrite64(7</r/pages/values/0000000001>, "", 500, 500) = 500
3 fdatasync(7</r/pages/values/0000000001>) = 0
3 write(6</r/pages/index/000002.log>, "", 200) = 200
3 fdatasync(6</r/pages/index/000002.log>) = 0
4 pwrite64(6</r/trail/00000001-0000000000100028.jsonl>, "", 300, 300) = 300
4 fdatasync(6</r/trail/00000001-0000000000100028.jsonl>) = 0
4 pwrite64(7</r/trail/position.json>, "{\"lsn\":\"0/200100\",\"file\":\"00000001-0000000000100028.jsonl\",\"offset\":600}  "..., 4096, 0) = 4096
4 fdatasync(7</r/trail/position.json>) = 0
1 FLUSH(200100)
`

var storyEvidence = evidence{
	root: "/r", first: 0x100000,
	lines: []trailLine{{"00000001-0000000000100028.jsonl", 200, 0x100100}, {"00000001-0000000000100028.jsonl", 300, 0x101000},
		{"00000001-0000000000100028.jsonl", 600, 0x200100}},
	states: map[string][]pageState{"/r/pages/index/000002.log": {{to: 150, position: 0x101000, file: 1, length: 500},
		{to: 400, position: 0x200100, file: 1, length: 1000}}},
}

// judgeStory checks a trace made by hand. FLUSH(LSN) is a status that confirms
// it, APPLY(LSN) one whose apply LSN is behind it.
func judgeStory(t *testing.T, lines []string) *verdict {
	t.Helper()
	told := regexp.MustCompile(`(FLUSH|APPLY)\((\w+)\)`)
	text := told.ReplaceAllStringFunc(strings.Join(lines, "\n"), func(s string) string {
		m := told.FindStringSubmatch(s)
		lsn, err := strconv.ParseUint(m[2], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		apply := lsn
		if m[1] == "APPLY" {
			apply++
		}
		b := append([]byte("d\x00\x00\x00\x26r"), make([]byte, 33)...)
		binary.BigEndian.PutUint64(b[6:], lsn)
		binary.BigEndian.PutUint64(b[14:], lsn)
		binary.BigEndian.PutUint64(b[22:], apply)
		hex := ""
		for _, c := range b {
			hex += fmt.Sprintf(`\x%02x`, c)
		}
		return fmt.Sprintf(`write(5<socket:[77]>, "%s", 39) = 39`, hex)
	})
	steps, err := parseTrace(strings.NewReader(text + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return checkTrace(steps, storyEvidence)
}

func storyLines() []string { return strings.Split(strings.TrimSpace(story), "\n") }

// TestTraceChecker: what is right passes, and each of its syncs is needed, in its
// place and with success.
func TestTraceChecker(t *testing.T) {
	lines := storyLines()
	v := judgeStory(t, lines)
	if len(v.problems) > 0 || len(v.told) != 4 || v.told[3].flush != 0x200100 {
		t.Fatalf("%d statuses, %v", len(v.told), v.problems)
	}
	seen := 0
	for i, l := range lines {
		if !strings.Contains(l, "sync(") {
			continue
		}
		seen++
		unfinished, thread := strings.Replace(l, ") = 0", " <unfinished ...>", 1), l[:2]
		resumed := thread + "<... " + l[2:strings.Index(l, "(")] + " resumed>) = 0"
		for what, changed := range map[string][]string{
			"left out":        replaced(lines, i),
			"at the end":      append(replaced(lines, i), l),
			"failed":          replaced(lines, i, strings.Replace(l, "= 0", "= -1 EIO (Input/output error)", 1)),
			"never returned":  replaced(lines, i, unfinished, thread+"+++ killed by SIGKILL +++"),
			"returned late":   append(replaced(lines, i, strings.Replace(unfinished, thread, "9 ", 1)), "9"+resumed[1:]),
			"of another file": replaced(lines, i, strings.Replace(l, "</r", "</r/other", 1)),
		} {
			if v := judgeStory(t, changed); len(v.problems) == 0 {
				t.Errorf("%s, and nothing is found wrong: %s", what, l)
			}
		}
	}
	if seen != 19 {
		t.Errorf("the story has %d syncs", seen)
	}
}

// replaced is lines with others in the place of line i.
func replaced(lines []string, i int, by ...string) []string {
	return append(append(append([]string{}, lines[:i]...), by...), lines[i+1:]...)
}

// TestTraceCheckerFaults changes single lines of the story: each change is found,
// and said with these words.
func TestTraceCheckerFaults(t *testing.T) {
	const partial = `6</r/archive/000000010000000000000002.partial>`
	for name, f := range map[string]struct{ line, by, want string }{
		"one byte more": {"1 FLUSH(200100)", "1 FLUSH(201001)", "bytes 0 to 4097 of /r/archive/000000010000000000000002.partial"},
		"a record that is not held": {"1 FLUSH(200000)", "1 FLUSH(200100)",
			"the durable position of trail is 0/101000: it lacks the record that ends at 0/200100"},
		"the sync begins before the write returns": {"2 pwrite64(" + partial + `, "", 4096, 0) = 4096`,
			"2 pwrite64(" + partial + `, "", 200, 0) = 200` + "\n9 pwrite64(" + partial + `, "", 3896, 200 <unfinished ...>`, "bytes 0 to 256"},
		"written anew": {"1 FLUSH(200100)", "2 pwrite64(" + partial + `, "", 1, 255) = 1` + "\n1 FLUSH(200100)", "bytes 0 to 256"},
		"cut":          {"1 FLUSH(200100)", "2 ftruncate(" + partial + ", 255) = 0\n1 FLUSH(200100)", "bytes 0 to 256"},
		"a short write": {"2 pwrite64(" + partial + `, "", 4096, 0) = 4096`, "2 pwrite64(" + partial + `, "", 4096, 0) = 255`,
			"bytes 0 to 256"},
		"a hole": {"2 pwrite64(" + partial + `, "", 4096, 0) = 4096`, "2 pwrite64(" + partial + `, "", 4096, 1) = 4096`,
			"bytes 0 to 256"},
		"renamed without a sync": {"1 FLUSH(200100)",
			`2 renameat(AT_FDCWD</>, "/r/archive/000000010000000000000001", AT_FDCWD</>, "/r/archive/x") = 0` + "\n1 FLUSH(200100)", "000000010000000000000001 does not exist"},
		"the position tells of a line too many": {storyLine(t, `\"lsn\":\"0/101000`), strings.Replace(storyLine(t, `\"lsn\":\"0/101000`), "101000", "100100", 1),
			"position.json is to say 0/100100, behind 1 records, but byte 300"},
		"the position is torn":           {"1 FLUSH(200100)", `4 pwrite64(7</r/trail/position.json>, "  ", 10, 10 <unfinished ...>` + "\n1 FLUSH(200100)", "the durable position of trail is 0/101000"},
		"apply before flush":             {"1 FLUSH(101800)", "1 APPLY(101800)", "apply"},
		"another way to write":           {"1 FLUSH(101800)", `2 pwritev(6</r/archive/000000010000000000000001.partial>, [], 0, 0) = 0`, "does not know"},
		"another way to tell the server": {"1 FLUSH(101800)", `1 sendmsg(5<socket:[77]>, {}, 0) = 39`, "does not know"},
	} {
		text := strings.Join(storyLines(), "\n")
		if strings.Count(text, f.line) != 1 {
			t.Fatalf("%s: the story has %d lines %q", name, strings.Count(text, f.line), f.line)
		}
		v := judgeStory(t, strings.Split(strings.Replace(text, f.line, f.by, 1), "\n"))
		if len(v.problems) == 0 || !strings.Contains(v.problems[0], f.want) {
			t.Errorf("%s: found %q, want %q", name, v.problems, f.want)
		}
	}
}

// TestTraceCheckerKilled: a sink is killed in a write, whose end comes late in the
// trace or not at all; what its successor writes and syncs counts.
func TestTraceCheckerKilled(t *testing.T) {
	lines := storyLines()
	at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "1040384, 8192)") })
	killed := strings.Replace(lines[at], ") = 1040384", " <unfinished ...>", 1)
	for what, changed := range map[string][]string{
		"never":   replaced(lines, at, killed, strings.Replace(killed, "2", "8", 1), "9"+lines[at][1:]),
		"late":    append(replaced(lines, at, strings.Replace(killed, "2", "8", 1), "9"+lines[at][1:]), "8 +++ killed by SIGKILL +++"),
		"in time": replaced(lines, at, strings.Replace(killed, "2", "8", 1), "8 <... pwrite64 resumed>) = ?", "9"+lines[at][1:]),
	} {
		if v := judgeStory(t, changed); len(v.problems) > 0 {
			t.Errorf("%s: %v", what, v.problems)
		}
	}
	lone := replaced(lines, at, strings.Replace(killed, "2", "8", 1))
	if v := judgeStory(t, lone); len(v.problems) == 0 {
		t.Error("a write that a kill has cut off is taken for a whole one")
	}
}

// storyLine is the story's line that holds the text.
func storyLine(t *testing.T, text string) string {
	t.Helper()
	for _, l := range storyLines() {
		if strings.Contains(l, text) {
			return l
		}
	}
	t.Fatalf("the story has no %s", text)
	return ""
}

func TestSpans(t *testing.T) {
	var s spans
	for _, x := range []span{{10, 20}, {30, 40}, {5, 5}, {20, 30}, {50, 60}, {0, 1}} {
		s = s.add(x)
	}
	s = s.remove(span{12, 13}).remove(span{55, forever}).remove(span{7, 7})
	if got, want := fmt.Sprint(s), "[{0 1} {10 12} {13 40} {50 55}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s.covers(span{10, 14}) || !s.covers(span{13, 40}) || s.covers(span{39, 41}) || !s.covers(span{7, 7}) {
		t.Error("covers")
	}
}
