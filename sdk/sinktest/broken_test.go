package sinktest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wal"
)

type listConfig struct {
	Directory string `walplex:"directory,required" format:"path"`
}

// list is a good sink that keeps the StartLSN of every record in a file, a line
// each, and its position in another. Its bug makes it a bad one.
type list struct {
	fs     durable.FS
	dir    string
	bug    string
	file   durable.File
	lock   io.Closer
	at     position
	to     wal.LSN
	tli    wal.TimelineID
	buf    []byte
	past   []wal.LSN
	cancel context.CancelFunc
}

// position is what the sink keeps beside the list.
type position struct {
	System   uint64
	Timeline wal.TimelineID
	LSN      wal.LSN
	Size     int64 // of the list
}

func listDefinition(fsys durable.FS, bug string) *sdk.Definition {
	o := []sdk.Option{sdk.Records(), sdk.MaxRecord(0)}
	if bug != "does not follow a switch" {
		o = append(o, sdk.Rewinds())
	}
	return sdk.Define("list", func(c *listConfig) sdk.Sink {
		return &list{fs: fsys, dir: c.Directory, bug: bug}
	}, o...)
}

func (l *list) name(s string) string { return filepath.Join(l.dir, s) }

func (l *list) Open(ctx context.Context, req *sdk.OpenRequest) (_ sdk.OpenResult, err error) {
	if err := durable.MkdirAll(l.fs, l.dir, 0o700); err != nil {
		return sdk.OpenResult{}, err
	}
	if l.lock, err = l.fs.Lock(ctx, l.name("lock"), req.LockWait); err != nil {
		return sdk.OpenResult{}, err
	}
	if l.file, err = l.fs.OpenFile(l.name("list"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return sdk.OpenResult{}, err
	}
	b, err := readAll(l.fs, l.name("position"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return sdk.OpenResult{}, err
	}
	isNew := err != nil
	err = nil
	if !isNew {
		if _, err := fmt.Sscan(string(b), &l.at.System, &l.at.Timeline, (*uint64)(&l.at.LSN), &l.at.Size); err != nil {
			return sdk.OpenResult{}, err
		}
	}
	if l.bug != "doubles after replay" {
		err = l.file.Truncate(l.at.Size)
	}
	if _, seekErr := l.file.Seek(0, io.SeekEnd); err == nil {
		err = seekErr
	}
	l.to, l.tli = l.at.LSN, l.at.Timeline
	if l.at.System == 0 {
		l.at.System = req.System.ID
	}
	if l.bug == "leaks goroutines" {
		forever, cancel := context.WithCancel(context.WithoutCancel(ctx))
		l.cancel = cancel
		go func() { <-forever.Done() }()
	}
	if l.bug == "forgets whose it is" && l.at.System != req.System.ID {
		isNew = true
	}
	return sdk.OpenResult{New: isNew, SystemID: l.at.System, Position: wal.Position{Timeline: l.at.Timeline, LSN: l.at.LSN}}, err
}

func readAll(fsys durable.FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (l *list) Write(ctx context.Context, b *sdk.Batch) error {
	if l.bug == "ignores ctx" {
		<-time.After(10 * patience)
	}
	for rec := range b.Records() {
		if rec.FragmentOffset == 0 {
			l.buf = fmt.Appendf(l.buf, "%d\n", uint64(rec.StartLSN))
		}
	}
	l.to, l.tli = b.To(), b.Timeline()
	if l.bug == "keeps it in memory" {
		return nil
	}
	return l.save()
}

func (l *list) save() error {
	_, err := l.file.Write(l.buf)
	l.buf = l.buf[:0]
	if l.bug == "ignores a full disk" {
		return nil
	}
	return err
}

func (l *list) Flush(context.Context) (wal.LSN, error) {
	l.past = append(l.past, l.to)
	switch l.bug {
	case "keeps it in memory":
		return l.to, nil
	case "goes backwards":
		if len(l.past) > 2 {
			return l.past[0], l.keep()
		}
	case "inside a record":
		if l.to > l.at.LSN {
			return l.to - 8, nil
		}
	case "loses the tail":
		return l.to, nil // the position is written by Close only
	case "flushes half":
		before := l.at.LSN
		return before, l.keep()
	}
	return l.to, l.keep()
}

// keep makes everything durable.
func (l *list) keep() error {
	if l.bug != "acks before durable" {
		if err := l.file.Sync(); err != nil {
			return err
		}
	}
	size, err := l.file.Seek(0, io.SeekEnd)
	if err != nil || l.tli == 0 {
		return err
	}
	l.at.Timeline, l.at.LSN, l.at.Size = l.tli, l.to, size
	text := fmt.Appendf(nil, "%d %d %d %d\n", l.at.System, l.at.Timeline, uint64(l.at.LSN), l.at.Size)
	err = durable.WriteFileAtomic(l.fs, l.name("position"), text, 0o600)
	if l.bug == "ignores a full disk" {
		return nil
	}
	return err
}

func (l *list) Close(context.Context) error {
	if l.bug == "hangs in Close" {
		<-time.After(10 * patience)
	}
	var err error
	if l.bug == "loses the tail" {
		err = l.keep()
	}
	return errors.Join(err, l.file.Close(), l.lock.Close())
}

func (l *list) Rewind(_ context.Context, e *sdk.Epoch) (wal.LSN, error) {
	if l.bug == "keeps what was taken back" {
		l.tli = e.NewTimeline
		return l.to, l.keep()
	}
	b, err := readAll(l.fs, l.name("list"))
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	size := int64(0)
	for lines.Scan() {
		var lsn uint64
		if _, err := fmt.Sscan(lines.Text(), &lsn); err != nil || wal.LSN(lsn) >= e.SwitchLSN {
			break
		}
		size += int64(len(lines.Text())) + 1
	}
	if err := l.file.Truncate(size); err != nil {
		return 0, err
	}
	l.to, l.tli = min(l.to, e.SwitchLSN), e.NewTimeline
	return l.to, l.keep()
}

// held reads the list of a closed sink, up to the first line that is none: what a
// loss of power leaves of one that was not synced may be zeros.
func held(fsys durable.FS, dir string) (out []wal.LSN, err error) {
	b, err := readAll(fsys, filepath.Join(dir, "directory", "list"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		var lsn uint64
		if _, err := fmt.Sscan(line, &lsn); err != nil {
			break
		}
		out = append(out, wal.LSN(lsn))
	}
	return out, nil
}

// patience for sinks that hang on purpose.
const patience = 2 * time.Second

func TestGoodSink(t *testing.T) {
	sinktest.Run(t, func() *sdk.Definition { return listDefinition(durable.OS{}, "") }, sinktest.Holds(held),
		sinktest.WithFS(func(fsys durable.FS) *sdk.Definition { return listDefinition(fsys, "") }))
}

func TestGoodSinkWithoutRewind(t *testing.T) {
	sinktest.Run(t, func() *sdk.Definition { return listDefinition(durable.OS{}, "does not follow a switch") }, sinktest.Only("timeline"))
}

// Each bad sink fails for its own reason.
func TestBadSinks(t *testing.T) {
	for _, c := range []struct {
		bug, check, rule, text string
	}{
		{"keeps it in memory", "kill", conform.RuleDurable, "says that it is new"},
		{"loses the tail", "kill", conform.RuleDurable, "says that it is new"},
		{"acks before durable", "power loss", conform.RuleOnce, ""},
		{"doubles after replay", "kill", conform.RuleOnce, ""},
		{"goes backwards", "progress", conform.RuleForward, "flushed"},
		{"inside a record", "progress", conform.RuleRecordEnd, "is inside the record from"},
		{"flushes half", "progress", conform.RuleFlush, "was written before it was asked for"},
		{"hangs in Close", "drain", conform.RuleStop, "Drain was not answered"},
		{"ignores ctx", "cancel", conform.RuleStop, "the host has gone"},
		{"leaks goroutines", "leaks", conform.RuleLeak, "(*list).Open"},
		{"ignores a full disk", "full disk", conform.RuleDurable, "larger than"},
		{"keeps what was taken back", "timeline", conform.RuleTimeline, "on a timeline that begins at"},
		{"forgets whose it is", "cluster", conform.RuleCluster, "it says new: true"},
	} {
		t.Run(c.bug, func(t *testing.T) {
			t.Parallel()
			def := func() *sdk.Definition { return listDefinition(durable.OS{}, c.bug) }
			o := []sinktest.Option{sinktest.Only(c.check), sinktest.Patience(patience), sinktest.Holds(held)}
			if c.check == "power loss" {
				o = append(o, sinktest.WithFS(func(fsys durable.FS) *sdk.Definition { return listDefinition(fsys, c.bug) }))
			}
			failed := 0
			for _, r := range sinktest.Results(t, def, o...) {
				var none *conform.NotApplicable
				if r.Err == nil || errors.As(r.Err, &none) {
					continue
				}
				failed++
				var v *conform.Violation
				if !errors.As(r.Err, &v) || v.Rule != c.rule || !strings.Contains(r.Err.Error(), c.text) {
					t.Errorf("%s/%s: %v\nwant the rule %q: %s", r.Form, r.Check, r.Err, c.rule, c.text)
				}
			}
			if failed == 0 {
				t.Errorf("the check %q finds nothing", c.check)
			}
		})
	}
}
