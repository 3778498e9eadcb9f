package e2e

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// maxTraceLine bounds a line of a trace, in bytes.
const maxTraceLine = 1 << 20

// traceCall is a system call in a trace of `strace -f -y -o FILE`.
type traceCall struct {
	name string
	args []string // as printed
	line int      // on which it begins, from 1
	done bool     // it has returned
	ret  int64    // -1 where it failed
	lost bool     // its thread did not come back from it: nobody knows what it did; ret is -1
	path string   // of the descriptor that was returned
}

// traceStep is a call's begin, or its return. A thread does not begin a call before
// strace has printed it, and does not go on after one before strace has printed
// its end. So of two steps of any threads, the first in the trace is not after
// the second in reality where one is the reason for the other.
type traceStep struct {
	*traceCall
	returns bool
	line    int // of this step
}

// parseTrace reads a trace.
func parseTrace(r io.Reader) ([]traceStep, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxTraceLine)
	var steps []traceStep
	running := map[string]*traceCall{} // by thread
	for n := 1; lines.Scan(); n++ {
		thread, rest, _ := strings.Cut(lines.Text(), " ")
		rest = strings.TrimLeft(rest, " ")
		if _, err := strconv.Atoi(thread); err != nil || rest == "" {
			return nil, fmt.Errorf("line %d: no thread in %.80q", n, lines.Text())
		}
		c := running[thread]
		switch {
		case strings.HasPrefix(rest, "+++"): // the thread has ended
			delete(running, thread)
			if c != nil {
				c.end()
				steps = append(steps, traceStep{c, true, n})
			}
		case strings.HasPrefix(rest, "---"): // a signal
		case strings.HasPrefix(rest, "<... "):
			_, end, ok := strings.Cut(rest, " resumed>")
			if c == nil || !ok {
				return nil, fmt.Errorf("line %d: resumes nothing: %.80q", n, rest)
			}
			delete(running, thread)
			if err := c.parseReturn(end); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			steps = append(steps, traceStep{c, true, n})
		default:
			if c != nil { // strace does not print the end of every thread that is killed
				c.end()
			}
			c := &traceCall{line: n}
			end, err := c.parseCall(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			steps = append(steps, traceStep{c, false, n})
			if end == "" {
				running[thread] = c
				continue
			}
			if err := c.parseReturn(end); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			steps = append(steps, traceStep{c, true, n})
		}
	}
	for _, c := range running {
		c.end()
	}
	return steps, lines.Err()
}

// end says that the call's thread has ended in it.
func (c *traceCall) end() { c.ret, c.done, c.lost = -1, true, true }

// parseCall reads the name and the arguments. rest is what follows them, empty
// where the call has not returned yet.
func (c *traceCall) parseCall(s string) (rest string, err error) {
	name, s, ok := strings.Cut(s, "(")
	if !ok {
		return "", fmt.Errorf("no call: %.80q", name)
	}
	c.name = name
	s, unfinished := strings.CutSuffix(s, " <unfinished ...>")
	from, depth := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '<': // a descriptor's path
			if end := strings.IndexByte(s[i:], '>'); end > 0 {
				i += end
			}
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth == 0 {
				c.addArg(s[from:i])
				return s[i:], nil
			}
			depth--
		case ',':
			if depth == 0 {
				c.addArg(s[from:i])
				from = i + 1
			}
		}
	}
	if !unfinished {
		return "", fmt.Errorf("no end of the arguments of %s", name)
	}
	c.addArg(s[from:])
	return "", nil
}

func (c *traceCall) addArg(s string) {
	if s = strings.TrimSpace(s); s != "" {
		c.args = append(c.args, s)
	}
}

// parseReturn reads ")   = RESULT".
func (c *traceCall) parseReturn(s string) error {
	_, s, ok := strings.Cut(s, "= ")
	if !ok {
		return fmt.Errorf("no result of %s", c.name)
	}
	c.done = true
	s, _, _ = strings.Cut(s, " ")
	num, path, _ := strings.Cut(s, "<")
	c.path = unquote(strings.TrimSuffix(path, ">"))
	if num == "?" { // the process is ending
		c.end()
		return nil
	}
	var err error
	c.ret, err = strconv.ParseInt(num, 0, 64)
	return err
}

func (c *traceCall) arg(i int) string {
	if i >= len(c.args) {
		return ""
	}
	return c.args[i]
}

// number is a numeric argument, 0 where it is none.
func (c *traceCall) number(i int) int64 {
	n, _ := strconv.ParseInt(c.arg(i), 0, 64)
	return n
}

// fdPath is the path, or the name such as socket:[77], of a descriptor's file.
func (c *traceCall) fdPath(i int) string {
	_, s, _ := strings.Cut(c.arg(i), "<")
	s, _, _ = strings.Cut(s, ">")
	return unquote(s)
}

// pathAt is the file that a directory's descriptor and a name mean.
func (c *traceCall) pathAt(dir, name int) string {
	s, _ := c.text(name)
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(c.fdPath(dir), s)
}

// text is a string argument. whole is false when strace has shortened it.
func (c *traceCall) text(i int) (s string, whole bool) {
	s, whole = strings.CutSuffix(c.arg(i), `"`)
	if !whole {
		s = strings.TrimSuffix(s, `"...`)
	}
	return unquote(strings.TrimPrefix(s, `"`)), whole
}

// unquote decodes what `strace -xx` has encoded, and \" as people write it.
func unquote(s string) string {
	s = strings.ReplaceAll(s, `\"`, `"`)
	if !strings.Contains(s, `\x`) {
		return s
	}
	b := make([]byte, 0, len(s)/4)
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if v, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func TestParseTrace(t *testing.T) {
	const trace = `10 openat(AT_FDCWD</home>, "\x61\x2c\x22", O_RDWR|O_CREAT, 0600) = 7</home/\x61>
11 write(8<socket:[77]>, "\x64\x00"..., 39 <unfinished ...>
10 fsync(1<pipe:[5]> <unfinished ...>
11 <... write resumed>)             = 39
10 <... fsync resumed>) = -1 EINVAL (Invalid argument)
12 connect(5<socket:[9]>, {sa_family=AF_UNIX, sun_path="\x2f(x"}, 110) = 0
12 --- SIGTERM {si_signo=SIGTERM} ---
12 pwrite64(7</f>, "", 4096, 0x10 <unfinished ...>
12 +++ killed by SIGKILL +++
13 write(8<socket:[77]>, "", 3 <unfinished ...>) = ?
`
	steps, err := parseTrace(strings.NewReader(strings.Replace(trace, " <unfinished ...>) = ?", ") = ?", 1)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps {
		if s.returns {
			got = append(got, fmt.Sprintf("%d %s = %d", s.line, s.name, s.ret))
		} else {
			got = append(got, fmt.Sprintf("%d %s(%d)", s.line, s.name, len(s.args)))
		}
	}
	const want = "1 openat(4)|1 openat = 7|2 write(3)|3 fsync(1)|4 write = 39|5 fsync = -1|6 connect(3)|6 connect = 0|" +
		"8 pwrite64(4)|9 pwrite64 = -1|10 write(3)|10 write = -1"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	open, write := steps[0], steps[2]
	if open.pathAt(0, 1) != `/home/a,"` || open.path != "/home/a" {
		t.Errorf("opened %q, got %q", open.pathAt(0, 1), open.path)
	}
	if s, whole := write.text(1); s != "d\x00" || whole || write.fdPath(0) != "socket:[77]" || write.number(2) != 39 {
		t.Errorf("text %q whole %t, path %q, %d bytes", s, whole, write.fdPath(0), write.number(2))
	}
	if p := steps[8]; p.number(3) != 16 {
		t.Errorf("offset %d", p.number(3))
	}
	for _, bad := range []string{"strace: attach: no", "1 <... write resumed>) = 1", `1 write(1, "abc`, "1 write(1, 2)", "1 what"} {
		if _, err := parseTrace(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
