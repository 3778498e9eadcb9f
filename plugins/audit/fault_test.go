package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// TestFaults puts a fault into each operation in turn: the error says what to
// do, nothing that was flushed is lost, and the next life completes the trail.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name      string
		fault     func(crashfs.Call) *crashfs.Fault
		permanent bool
		text      string
	}{
		{"disk full at a line", crashfs.Nth(crashfs.OpWrite, "*.jsonl", 3, &crashfs.Fault{Err: syscall.ENOSPC, Written: 100}), false, "free some"},
		{"disk full at the position", crashfs.Nth(crashfs.OpWrite, positionName, 3, &crashfs.Fault{Err: syscall.ENOSPC, Written: 17}), false, "free some"},
		{"quota", crashfs.Nth(crashfs.OpSync, "*.jsonl", 2, &crashfs.Fault{Err: syscall.EDQUOT}), false, "free some"},
		{"fsync of lines fails", crashfs.Nth(crashfs.OpSync, "*.jsonl", 3, &crashfs.Fault{Err: syscall.EIO}), false, "input/output error"},
		{"fsync of the position fails", crashfs.Nth(crashfs.OpSync, positionName, 3, &crashfs.Fault{Err: syscall.EIO}), false, "input/output error"},
		{"fsync of the directory fails", crashfs.Nth(crashfs.OpSyncDir, "trail", 2, &crashfs.Fault{Err: syscall.EIO}), false, "input/output error"},
		{"the next file cannot be made", crashfs.Nth(crashfs.OpOpen, "*.jsonl", 2, &crashfs.Fault{Err: syscall.EACCES}), true, "let the user that runs walplex write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := transactions(1000)
			fsys, config := crashfs.New(), testConfig()
			config.Rotate = minRotate
			s := open(t, fsys, config, w)
			fsys.Inject(c.fault)
			var flushed wal.LSN
			var err error
			for to := w.Options().Start; err == nil && to < w.End(); {
				to = min(to+5000, w.End())
				if err = s.Deliver(t.Context(), stretch(w, s.Next(), to)); err == nil {
					var lsn wal.LSN
					if lsn, err = s.Flush(t.Context()); err == nil {
						flushed = lsn
					}
				}
			}
			if err == nil || sdk.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), testDir) {
				t.Fatalf("the error is %v", err)
			}
			if lsn, again := s.Flush(t.Context()); again == nil {
				t.Errorf("after the error a flush answers %s", lsn)
			}
			if err := s.Deliver(t.Context(), stretch(w, s.Next(), s.Next()+20)); err == nil {
				t.Error("after the error a write succeeds")
			}
			_ = s.Close(t.Context())
			fsys.Inject(nil)
			s = open(t, fsys, config, w)
			at := s.Result().Position.LSN
			if at < flushed {
				t.Fatalf("flushed %s, found %s", flushed, at)
			}
			checkTrail(t, fsys, w, at)
			lost := fsys.CrashKeeping(seeded(0), 0) // what was answered holds at once
			if got := open(t, lost, config, w).Result().Position.LSN; got != at {
				t.Fatalf("answered %s, after power loss %s", at, got)
			}
			checkTrail(t, lost, w, at)
			deliver(t, s, w, w.End())
			flush(t, s)
			checkTrail(t, fsys, w, w.End())
		})
	}
}

// TestOpenRefuses has directories that the sink must not touch.
func TestOpenRefuses(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 100<<10)
	file := filepath.Join(testDir, fileName(wal.Position{Timeline: 1, LSN: w.Records()[0].Start}))
	position := filepath.Join(testDir, positionName)
	truncated := func(t *testing.T, fsys *crashfs.FS, name string, n int) {
		writeFile(t, fsys, name, readFile(t, fsys, name)[:n])
	}
	newer := func(t *testing.T, fsys *crashfs.FS, name, from, to string) {
		writeFile(t, fsys, name, bytes.Replace(readFile(t, fsys, name), []byte(from), []byte(to), 1))
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, fsys *crashfs.FS)
		text   string
	}{
		{"files without position", func(t *testing.T, fsys *crashfs.FS) {
			if err := fsys.Remove(position); err != nil {
				t.Fatal(err)
			}
		}, "choose an empty directory"},
		{"foreign files without position", func(t *testing.T, fsys *crashfs.FS) {
			for _, name := range []string{position, file} {
				if err := fsys.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			writeFile(t, fsys, testDir+"/app.jsonl", []byte("{}\n"))
		}, "app.jsonl"},
		{"both slots damaged", func(t *testing.T, fsys *crashfs.FS) {
			writeFile(t, fsys, position, bytes.Replace(readFile(t, fsys, position), []byte(`"lsn":"0/`), []byte(`"lsn":"1/`), -1))
		}, "no valid position.json"},
		{"newer position", func(t *testing.T, fsys *crashfs.FS) {
			slot := []byte(`{"walplex_audit_position":2,"anything":[]`)
			writeFile(t, fsys, position, fmt.Appendf(slot, `%s%08x"}`, crcKey, checksum(slot)))
		}, "version 2"},
		{"newer lines", func(t *testing.T, fsys *crashfs.FS) {
			newer(t, fsys, file, `{"walplex_audit":1,`, `{"walplex_audit":9,`)
		}, "version 9"},
		{"no header", func(t *testing.T, fsys *crashfs.FS) {
			newer(t, fsys, file, `{"walplex_audit":1,`, `{"walplex_audio":1,`)
		}, "not the header"},
		{"file of another cluster", func(t *testing.T, fsys *crashfs.FS) {
			newer(t, fsys, file, `"system_id":"7000000000000000001"`, `"system_id":"7000000000000000002"`)
		}, "put the file back"},
		{"file gone", func(t *testing.T, fsys *crashfs.FS) {
			if err := fsys.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, "is gone"},
		{"file cut", func(t *testing.T, fsys *crashfs.FS) { truncated(t, fsys, file, 2000) }, "has 2000 bytes"},
		{"not writable", func(t *testing.T, fsys *crashfs.FS) {
			fsys.Inject(crashfs.Always(crashfs.OpOpen, "*.jsonl", &crashfs.Fault{Err: syscall.EROFS}))
		}, "let the user that runs walplex write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys, testConfig(), w)
			deliver(t, s, w, w.End())
			flush(t, s)
			closeSession(t, s)
			c.damage(t, fsys)
			fsys.ClearLog()
			_, err := tryOpen(t, fsys, testConfig(), system(w), w)
			if err == nil || !sdk.IsPermanent(err) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("the error is %v", err)
			}
			for _, call := range fsys.Log() {
				if call.Op != crashfs.OpSyncDir {
					t.Errorf("it did %s", call)
				}
			}
		})
	}
}

func TestNotADirectory(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 1<<10)
	c := testConfig()
	c.Directory = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(c.Directory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, durable.OS{}, c, system(w), w); err == nil || !sdk.IsPermanent(err) || !strings.Contains(err.Error(), "another directory") {
		t.Errorf("the error is %v", err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	w := waltest.Random(9, waltest.Options{}, 100<<10)
	c := testConfig()
	c.Directory = t.TempDir()
	s := open(t, durable.OS{}, c, w)
	_, err := tryOpen(t, durable.OS{}, c, system(w), w)
	if !errors.Is(err, durable.ErrLocked) || sdk.IsPermanent(err) || !strings.Contains(err.Error(), c.Directory) || !strings.Contains(err.Error(), "a directory of its own") {
		t.Fatalf("the error is %v", err)
	}
	// The one that was there goes on, and leaves the lock behind for the next.
	deliver(t, s, w, w.End())
	flush(t, s)
	closeSession(t, s)
	closeSession(t, open(t, durable.OS{}, c, w))
}
