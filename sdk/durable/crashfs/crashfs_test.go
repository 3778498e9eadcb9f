package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
)

func rng(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 7)) }

func open(t *testing.T, f durable.FS, name string) durable.File {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func write(t *testing.T, file durable.File, p []byte, off int64) {
	t.Helper()
	if _, err := file.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read answers the file's bytes, nil when it is not there.
func read(t *testing.T, f durable.FS, name string) []byte {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(t, err)
	b, err := io.ReadAll(file)
	must(t, err)
	return b
}

// A program that does not sync loses data, and one that does never loses any: of
// 100 crashes each. Both syncs are needed.
func TestWhatSurvives(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 200)
	for _, c := range []struct {
		syncFile, syncDir bool
	}{{false, false}, {true, false}, {false, true}, {true, true}} {
		lost := 0
		for seed := range 100 {
			f := crashfs.New()
			file := open(t, f, "/a")
			write(t, file, data, 0)
			if c.syncFile {
				must(t, file.Sync())
			}
			if c.syncDir {
				must(t, f.SyncDir("/"))
			}
			if !bytes.Equal(read(t, f.Crash(rng(seed)), "/a"), data) {
				lost++
			}
		}
		if durable := c.syncFile && c.syncDir; durable != (lost == 0) {
			t.Errorf("file synced %v, directory synced %v: %d of 100 crashes lost data", c.syncFile, c.syncDir, lost)
		}
		if lost == 100 {
			t.Errorf("file synced %v, directory synced %v: no crash kept the data", c.syncFile, c.syncDir)
		}
	}
}

// Of unsynced pages any subset survives; the rest reads as what was synced last.
func TestPagesSurviveOneByOne(t *testing.T) {
	const pages = 8
	seen := map[string]bool{}
	for seed := range 200 {
		f := crashfs.New()
		file := open(t, f, "/a")
		write(t, file, bytes.Repeat([]byte{'o'}, pages*crashfs.PageSize), 0)
		must(t, file.SyncData())
		must(t, f.SyncDir("/"))
		write(t, file, bytes.Repeat([]byte{'n'}, pages*crashfs.PageSize), 0)
		got := read(t, f.Crash(rng(seed)), "/a")
		if len(got) != pages*crashfs.PageSize {
			t.Fatalf("seed %d: %d bytes", seed, len(got))
		}
		state := ""
		for p := range pages {
			page := got[p*crashfs.PageSize:][:crashfs.PageSize]
			if bytes.Count(page, page[:1]) != crashfs.PageSize {
				t.Fatalf("seed %d: page %d is torn", seed, p)
			}
			state += string(page[0])
		}
		seen[state] = true
	}
	if !seen["oooooooo"] || !seen["nnnnnnnn"] || len(seen) < 20 {
		t.Errorf("states found after 200 crashes: %d, all old %v, all new %v", len(seen), seen["oooooooo"], seen["nnnnnnnn"])
	}
}

// A write through ODSync is there after power loss, and no other byte with it.
func TestODSync(t *testing.T) {
	f := crashfs.New()
	file, err := f.OpenFile("/a", os.O_RDWR|os.O_CREATE|durable.ODSync, 0o600)
	must(t, err)
	must(t, f.SyncDir("/"))
	write(t, open(t, f, "/a"), bytes.Repeat([]byte{'n'}, 3*crashfs.PageSize), 0)
	write(t, file, []byte("data"), crashfs.PageSize+7)
	got := read(t, f.CrashKeeping(rng(1), 0), "/a")
	want := make([]byte, 3*crashfs.PageSize)
	copy(want[crashfs.PageSize:], bytes.Repeat([]byte{'n'}, crashfs.PageSize))
	copy(want[crashfs.PageSize+7:], "data")
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes survived, or others than were written through", len(got))
	}
}

// An unsynced growth leaves any size between; an unsynced cut leaves the old
// bytes or the cut, and cut bytes do not come back once it is synced.
func TestSizes(t *testing.T) {
	sizes := map[int]bool{}
	for seed := range 200 {
		f := crashfs.New()
		file := open(t, f, "/a")
		must(t, f.SyncDir("/"))
		write(t, file, make([]byte, 1000), 0)
		must(t, file.Sync())
		write(t, file, make([]byte, 1000), 1000)
		n := len(read(t, f.Crash(rng(seed)), "/a"))
		if n < 1000 || n > 2000 {
			t.Fatalf("seed %d: size %d", seed, n)
		}
		sizes[n] = true
	}
	if !sizes[1000] || !sizes[2000] || len(sizes) < 10 {
		t.Errorf("sizes after a crash: %v", sizes)
	}
	stale := 0
	for seed := range 50 {
		f := crashfs.New()
		file := open(t, f, "/a")
		must(t, f.SyncDir("/"))
		write(t, file, bytes.Repeat([]byte{'x'}, 4000), 0)
		must(t, file.Sync())
		must(t, file.Truncate(100))
		must(t, file.Allocate(4000))
		if bytes.Contains(read(t, f, "/a")[100:], []byte("x")) {
			t.Fatal("cut bytes can be read")
		}
		if bytes.Contains(read(t, f.Crash(rng(seed)), "/a")[100:], []byte("x")) {
			stale++
		}
		must(t, file.Sync())
		if bytes.Contains(read(t, f.Crash(rng(seed)), "/a")[100:], []byte("x")) {
			t.Fatalf("seed %d: cut bytes came back after a sync", seed)
		}
	}
	if stale == 0 {
		t.Error("no crash brought back what an unsynced cut removed")
	}
}

// A rename is done or not done. A link and a removal are two things, of which
// the second may survive alone.
func TestNames(t *testing.T) {
	states := map[string]int{}
	for seed := range 200 {
		f := crashfs.New()
		for _, name := range []string{"/old", "/new", "/linked"} {
			file := open(t, f, name)
			write(t, file, []byte(name), 0)
			must(t, file.Sync())
		}
		must(t, f.SyncDir("/"))
		must(t, f.Rename("/old", "/new"))
		must(t, f.Link("/linked", "/name"))
		must(t, f.Remove("/linked"))
		c := f.Crash(rng(seed))
		renamed := fmt.Sprintf("%s|%s", read(t, c, "/old"), read(t, c, "/new"))
		if renamed != "/old|/new" && renamed != "|/old" {
			t.Fatalf("seed %d: half a rename: %s", seed, renamed)
		}
		states[renamed]++
		states[fmt.Sprintf("%s %s", read(t, c, "/linked"), read(t, c, "/name"))]++
	}
	for _, want := range []string{"/old|/new", "|/old", "/linked ", "/linked /linked", " /linked", " "} {
		if states[want] == 0 {
			t.Errorf("no crash led to %q: %v", want, states)
		}
	}
}

// What the kernel wrote in another order than it was done changes nothing about
// the names once the directory is synced.
func TestWritebackThenSyncDir(t *testing.T) {
	for seed := range 300 {
		r := rng(seed)
		f := crashfs.New()
		for i := range 30 {
			a, b := fmt.Sprintf("/%d", r.IntN(4)), fmt.Sprintf("/%d", r.IntN(4))
			switch r.IntN(5) {
			case 0:
				write(t, open(t, f, a), fmt.Appendf(nil, "%d", i), 0)
			case 1:
				_ = f.Rename(a, b)
			case 2:
				_ = f.Link(a, b)
			case 3:
				_ = f.Remove(a)
			case 4:
				f.Writeback(r, r.Float64())
			}
		}
		must(t, f.SyncDir("/"))
		c := f.Crash(r)
		want, _ := f.ReadDir("/")
		got, _ := c.ReadDir("/")
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Fatalf("seed %d: names %v, after sync and crash %v", seed, want, got)
		}
	}
}

// The kernel's page cache outlives the process, not the power.
func TestKill(t *testing.T) {
	f := crashfs.New()
	file := open(t, f, "/a")
	write(t, file, []byte("data"), 0)
	if _, err := f.Lock(t.Context(), "/lock", 0); err != nil {
		t.Fatal(err)
	}
	k := f.Kill()
	write(t, file, []byte("dead"), 0)
	if got := read(t, k, "/a"); string(got) != "data" {
		t.Errorf("after a kill the file holds %q", got)
	}
	if _, err := k.Lock(t.Context(), "/lock", 0); err != nil {
		t.Errorf("the lock outlived its process: %v", err)
	}
	if got := read(t, k.CrashKeeping(rng(1), 0), "/a"); got != nil {
		t.Errorf("unsynced bytes are there after power loss: %q", got)
	}
}

// After a failed sync the bytes can be read and are lost all the same, whatever a
// second sync says.
func TestFailedSync(t *testing.T) {
	f := crashfs.New()
	file := open(t, f, "/a")
	must(t, f.SyncDir("/"))
	write(t, file, []byte("data"), 0)
	f.Inject(crashfs.Nth(crashfs.OpSync, "a", 1, &crashfs.Fault{Err: syscall.EIO}))
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	must(t, file.Sync())
	if got := read(t, f, "/a"); string(got) != "data" {
		t.Errorf("the file reads as %q", got)
	}
	if got := read(t, f.CrashKeeping(rng(1), 1), "/a"); len(got) != 0 {
		t.Errorf("after power loss the file holds %q", got)
	}
}

func TestShortWrite(t *testing.T) {
	f := crashfs.New()
	file := open(t, f, "/a")
	f.Inject(crashfs.Nth(crashfs.OpWrite, "*", 2, &crashfs.Fault{Err: syscall.ENOSPC, Written: 3}))
	write(t, file, []byte("0123456789"), 0)
	n, err := file.WriteAt([]byte("abcdef"), 10)
	if n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write: %d bytes, %v", n, err)
	}
	var path *fs.PathError
	if !errors.As(err, &path) || path.Path != "/a" {
		t.Errorf("the error does not name the file: %v", err)
	}
	if got := read(t, f, "/a"); string(got) != "0123456789abc" {
		t.Errorf("the file holds %q", got)
	}
}

func TestLog(t *testing.T) {
	f := crashfs.New()
	must(t, f.MkdirAll("/d", 0o700))
	file := open(t, f, "/d/a.partial")
	write(t, file, []byte("0123"), 4)
	must(t, file.Sync())
	must(t, f.Link("/d/a.partial", "/d/a"))
	must(t, f.SyncDir("/d"))
	got := ""
	for _, c := range f.Log() {
		got += c.String() + "\n"
	}
	if want := "mkdir d\nwrite a.partial 4+4\nsync a.partial\nlink a.partial a\nsyncdir d\n"; got != want {
		t.Errorf("log:\n%swant:\n%s", got, want)
	}
}

func TestLock(t *testing.T) {
	f := crashfs.New()
	first, err := f.Lock(t.Context(), "/lock", 0)
	must(t, err)
	if _, err := f.Lock(t.Context(), "/lock", 0); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	got := make(chan error)
	go func() {
		_, err := f.Lock(t.Context(), "/lock", time.Minute)
		got <- err
	}()
	must(t, first.Close())
	must(t, <-got)
}

// The two implementations of the interface do the same things and fail alike.
func TestLikeTheRealOne(t *testing.T) {
	for seed := range 30 {
		r := rng(seed)
		mem, dir := crashfs.New(), t.TempDir()
		must(t, mem.MkdirAll(dir, 0o700))
		var files [2]durable.File
		step := func(i int, what string, do func(f durable.FS, file *durable.File) string) {
			t.Helper()
			a, b := do(mem, &files[0]), do(durable.OS{}, &files[1])
			if a != b {
				t.Fatalf("seed %d, step %d, %s:\nin memory %s\non disk   %s", seed, i, what, a, b)
			}
		}
		for i := range 200 {
			a, b := filepath.Join(dir, fmt.Sprint(r.IntN(4))), filepath.Join(dir, fmt.Sprint(r.IntN(4)))
			off, p := int64(r.IntN(5000)), bytes.Repeat([]byte{byte(i)}, r.IntN(3000))
			flag := []int{os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL, os.O_RDWR | os.O_TRUNC, os.O_RDONLY, os.O_WRONLY | os.O_APPEND}[r.IntN(6)]
			switch op := r.IntN(12); {
			case op == 0 || files[0] == nil:
				step(i, "open", func(f durable.FS, file *durable.File) string {
					opened, err := f.OpenFile(a, flag, 0o600)
					if err == nil {
						*file = opened
					}
					return outcome(err)
				})
			case op == 1:
				step(i, "rename", func(f durable.FS, _ *durable.File) string { return outcome(f.Rename(a, b)) })
			case op == 2:
				step(i, "link", func(f durable.FS, _ *durable.File) string { return outcome(f.Link(a, b)) })
			case op == 3:
				step(i, "remove", func(f durable.FS, _ *durable.File) string { return outcome(f.Remove(a)) })
			case op == 4:
				step(i, "truncate", func(_ durable.FS, file *durable.File) string { return outcome((*file).Truncate(off)) })
			case op == 5:
				step(i, "allocate", func(_ durable.FS, file *durable.File) string { return outcome((*file).Allocate(off + 1)) })
			case op == 6 && flag&os.O_APPEND == 0:
				step(i, "write", func(_ durable.FS, file *durable.File) string {
					n, err := (*file).Write(p)
					return fmt.Sprint(n, outcome(err))
				})
			case op == 7:
				step(i, "read at", func(_ durable.FS, file *durable.File) string {
					buf := make([]byte, len(p))
					n, err := (*file).ReadAt(buf, off)
					return fmt.Sprint(n, buf[:n], outcome(err))
				})
			case op == 8:
				step(i, "stat", func(f durable.FS, _ *durable.File) string {
					st, err := f.Stat(a)
					if err != nil {
						return outcome(err)
					}
					return fmt.Sprint(st.Name(), st.Size(), st.Mode())
				})
			case op == 9:
				step(i, "sync", func(f durable.FS, file *durable.File) string {
					return outcome((*file).Sync()) + outcome((*file).SyncData()) + outcome(f.SyncDir(dir)) + outcome(f.SyncDir(a+"x"))
				})
			case op == 10:
				step(i, "seek", func(_ durable.FS, file *durable.File) string {
					n, err := (*file).Seek(off, io.SeekStart)
					return fmt.Sprint(n, outcome(err))
				})
			}
			step(i, "read dir", func(f durable.FS, _ *durable.File) string {
				list, err := f.ReadDir(dir)
				s := outcome(err)
				for _, e := range list {
					s += fmt.Sprintf("\n%s %x", e.Name(), read(t, f, filepath.Join(dir, e.Name())))
				}
				return s
			})
		}
	}
}

// outcome is an error without its names.
func outcome(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return fmt.Sprint(err)
}
