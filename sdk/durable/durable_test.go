package durable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, f durable.FS, name string) string {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	must(t, err)
	defer file.Close()
	b, err := io.ReadAll(file)
	must(t, err)
	return string(b)
}

// Whichever operation fails, and power is lost then: the file holds all of the
// old bytes or all of the new ones, and the new ones once the call has succeeded.
func TestWriteFileAtomic(t *testing.T) {
	oldData, newData := strings.Repeat("old", 500), strings.Repeat("newer", 500)
	for seed := range 50 {
		for failing := 1; ; failing++ {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			f := crashfs.New()
			must(t, durable.WriteFileAtomic(f, "/a", []byte(oldData), 0o600))
			calls := 0
			f.Inject(func(crashfs.Call) *crashfs.Fault {
				if calls++; calls == failing {
					return &crashfs.Fault{Err: syscall.EIO, Written: 700}
				}
				return nil
			})
			err := durable.WriteFileAtomic(f, "/a", []byte(newData), 0o600)
			f.Inject(nil)
			switch got := read(t, f.Crash(r), "/a"); {
			case calls < failing: // the operations are through, none failed
				if err != nil || got != newData {
					t.Fatalf("seed %d: %v, and the file holds %d bytes", seed, err, len(got))
				}
			case err == nil && got != newData, got != newData && got != oldData:
				t.Fatalf("seed %d, operation %d failing: %v, and the file holds %d bytes", seed, failing, err, len(got))
			}
			if calls < failing {
				break
			}
		}
	}
}

// A directory that MkdirAll has made is there after power loss, even where the one
// who made it was killed on the way.
func TestMkdirAll(t *testing.T) {
	f := crashfs.New()
	must(t, durable.MkdirAll(f, "/a/b/c", 0o700))
	if _, err := f.CrashKeeping(rand.New(rand.NewPCG(1, 1)), 0).Stat("/a/b/c"); err != nil {
		t.Error(err)
	}
	f = crashfs.New()
	must(t, f.MkdirAll("/a", 0o700))
	must(t, durable.MkdirAll(f.Kill(), "/a", 0o700))
	k := f.Kill()
	must(t, durable.MkdirAll(k, "/a", 0o700))
	if _, err := k.CrashKeeping(rand.New(rand.NewPCG(1, 1)), 0).Stat("/a"); err != nil {
		t.Error(err)
	}
}

func TestOSAllocate(t *testing.T) {
	dir := t.TempDir()
	f, err := durable.OS{}.OpenFile(filepath.Join(dir, "a"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("data"), 0)
	must(t, err)
	must(t, f.Allocate(1<<20))
	must(t, f.Allocate(100)) // never cuts
	must(t, f.SyncData())
	must(t, f.Sync())
	got := read(t, durable.OS{}, filepath.Join(dir, "a"))
	if len(got) != 1<<20 || got[:4] != "data" || strings.Trim(got[4:], "\x00") != "" {
		t.Errorf("%d bytes, beginning with %q", len(got), got[:8])
	}
	if st, err := os.Stat(filepath.Join(dir, "a")); err != nil || st.Sys().(*syscall.Stat_t).Blocks*512 < 1<<20 {
		t.Errorf("room was not reserved: %+v, %v", st, err)
	}
}

func TestOSLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	first, err := durable.OS{}.Lock(t.Context(), name, 0)
	must(t, err)
	_, err = durable.OS{}.Lock(t.Context(), name, lockTwice)
	if !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", os.Getpid())) || !strings.Contains(err.Error(), name) {
		t.Errorf("a second lock: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = (durable.OS{}).Lock(ctx, name, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a lock that nobody waits for any more: %v", err)
	}
	got := make(chan error)
	go func() {
		second, err := durable.OS{}.Lock(t.Context(), name, time.Hour)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	must(t, first.Close())
	must(t, <-got)
}

// lockTwice is long enough for a second try.
const lockTwice = 50 * time.Millisecond

// Errors name the file, and wrap what package fs names.
func TestOSErrors(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must(t, durable.WriteFileAtomic(durable.OS{}, a, []byte("a"), 0o600))
	must(t, durable.WriteFileAtomic(durable.OS{}, b, []byte("b"), 0o600))
	for what, c := range map[string]struct {
		err  error
		is   error
		name string
	}{
		"link":    {durable.OS{}.Link(a, b), fs.ErrExist, b},
		"rename":  {durable.OS{}.Rename(a+"x", b), fs.ErrNotExist, b},
		"syncdir": {durable.OS{}.SyncDir(a + "x"), fs.ErrNotExist, a + "x"},
		"lock":    {lockError(filepath.Join(dir, "none", "lock")), fs.ErrNotExist, filepath.Join(dir, "none", "lock")},
	} {
		var path *fs.PathError
		if !errors.Is(c.err, c.is) || !errors.As(c.err, &path) || path.Path != c.name {
			t.Errorf("%s: %#v", what, c.err)
		}
	}
	if got := []byte(read(t, durable.OS{}, b)); !bytes.Equal(got, []byte("b")) {
		t.Errorf("a link replaced a file: %q", got)
	}
}

func lockError(name string) error {
	_, err := durable.OS{}.Lock(context.Background(), name, 0)
	return err
}
