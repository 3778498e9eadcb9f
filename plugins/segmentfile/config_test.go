package segmentfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/walplex/walplex/plugins/segmentfile"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

func TestValidate(t *testing.T) {
	for want, c := range map[string]segmentfile.Config{
		"":                              {Directory: "/a"},
		" ":                             {Directory: "/a", Compression: "zstd", CompressionLevel: 22, FileMode: "0640", DirectoryMode: "750", Sync: "o_dsync"},
		"  ":                            {Directory: "/a", Compression: "none", FileMode: "0600", DirectoryMode: "0700", Sync: "fdatasync"},
		"directory":                     {},
		"compression":                   {Directory: "/a", Compression: "bzip2"},
		"compression_level":             {Directory: "/a", Compression: "gzip", CompressionLevel: 10},
		"compression_level compression": {Directory: "/a", CompressionLevel: 3},
		"file_mode octal":               {Directory: "/a", FileMode: "rw"},
		"file_mode itself":              {Directory: "/a", FileMode: "0440"},
		"directory_mode octal":          {Directory: "/a", DirectoryMode: "7777"},
		"sync":                          {Directory: "/a", Sync: "never"},
	} {
		got := ""
		for _, e := range c.Validate() {
			got += fmt.Sprint(e.Path[0], " ", e.Summary, " ", e.Detail)
		}
		words := strings.Fields(want)
		if (got == "") != (len(words) == 0) {
			t.Errorf("%+v: %q", c, got)
		}
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("%+v: %q, without %q", c, got, w)
			}
		}
	}
}

// What the sink makes has the permissions that are asked for, whatever the umask
// takes.
func TestModes(t *testing.T) {
	w := source(1500)
	dir := filepath.Join(t.TempDir(), "a")
	c := &segmentfile.Config{Directory: dir, FileMode: "0666", DirectoryMode: "0777", Compression: "lz4", Group: fmt.Sprint(os.Getegid())}
	l, err := startAs(t, durable.OS{}, w, c)
	must(t, err)
	l.mustDeliver(w, w.End())
	l.mustFlush()
	must(t, l.rewind(epochTo(w.End())))
	must(t, l.Close(t.Context()))
	for file, want := range map[string]os.FileMode{
		".": 0o777, name(1<<20) + ".lz4": 0o666, name(2<<20) + ".partial": 0o666, "00000002.history": 0o666, ".walplex-segment_file": 0o666,
	} {
		st, err := os.Stat(filepath.Join(dir, file))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", file, st, err)
		}
	}
}

// Files are given away by who may do that, and others are told why they may not.
func TestOwner(t *testing.T) {
	w := source(100)
	const nobody = 65534
	dir := filepath.Join(t.TempDir(), "a")
	l, err := startAs(t, durable.OS{}, w, &segmentfile.Config{Directory: dir, Owner: fmt.Sprint(nobody), Group: fmt.Sprint(nobody)})
	if os.Geteuid() != 0 {
		wantError(t, err, true, "owner", "CAP_CHOWN")
		return
	}
	must(t, err)
	l.mustDeliver(w, w.End())
	for _, file := range []string{".", name(1<<20) + ".partial", ".walplex-segment_file"} {
		st, err := os.Stat(filepath.Join(dir, file))
		must(t, err)
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != nobody || sys.Gid != nobody {
			t.Errorf("%s belongs to %d, %d", file, sys.Uid, sys.Gid)
		}
	}
}

func TestNobodyOfThatName(t *testing.T) {
	for _, c := range []*segmentfile.Config{{Directory: t.TempDir(), Owner: "no such user"}, {Directory: t.TempDir(), Group: "no such group"}} {
		_, err := startAs(t, durable.OS{}, source(1), c)
		wantError(t, err, true, c.Owner, c.Group, "on this machine")
	}
}

// Every size of segments that PostgreSQL has. The large ones are sparse.
func TestSegmentSizes(t *testing.T) {
	for size := wal.SegmentSize(wal.MinSegmentSize); size.Valid(); size *= 2 {
		w := waltest.New(waltest.Options{SegmentSize: size})
		messages(w, 100)
		if size <= 4<<20 {
			messages(w, int(size)/800)
		}
		c := &segmentfile.Config{Directory: t.TempDir(), Compression: "zstd"}
		l, err := startAs(t, durable.OS{}, w, c)
		must(t, err)
		l.mustDeliver(w, w.End())
		l.mustFlush()
		must(t, l.Close(t.Context()))
		messages(w, 10)
		l, err = startAs(t, durable.OS{}, w, c)
		must(t, err)
		l.mustDeliver(w, w.End())
		if got := l.mustFlush(); got != w.End() {
			t.Errorf("segments of %d bytes: flushed %s of %s", uint32(size), got, w.End())
		}
		wantWAL(t, l, 1, w, w.Options().Start, 0)
		must(t, l.Close(t.Context()))
	}
}

// With o_dsync a flush syncs the file's name alone, and that once.
func TestODSync(t *testing.T) {
	w := source(100)
	disk := crashfs.New()
	l, err := startAs(t, disk, w, &segmentfile.Config{Directory: archive, Sync: "o_dsync"})
	must(t, err)
	disk.ClearLog()
	l.mustDeliver(w, w.Options().Start+1000)
	l.mustFlush()
	l.mustDeliver(w, w.Options().Start+2000)
	l.mustFlush()
	want := "write 000000010000000000000001.partial 0+1000\nsyncdir archive\nwrite 000000010000000000000001.partial 1000+1000"
	if got := changes(disk); got != want {
		t.Errorf("done:\n%s\nwant:\n%s", got, want)
	}
}

// The directory is moved away under the sink, or another comes in its place:
// nothing more is said to be flushed, and when it is back, all goes on.
func TestDirectoryVanishes(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		for _, flush := range []bool{false, true} {
			w := source(2500)
			root := t.TempDir()
			dir, away := filepath.Join(root, "a"), filepath.Join(root, "b")
			l, err := startAs(t, durable.OS{}, w, config(dir))
			must(t, err)
			l.mustDeliver(w, w.Options().Start+50_000)
			flushed := l.mustFlush()
			must(t, os.Rename(dir, away))
			if replaced {
				must(t, os.Mkdir(dir, 0o700))
				must(t, os.WriteFile(filepath.Join(dir, name(1<<20)+".partial"), nil, 0o600))
			}
			if flush {
				l.mustDeliver(w, w.Options().Start+60_000)
				_, err = l.Flush(t.Context())
			} else {
				err = l.deliver(w, w.End())
			}
			wantError(t, err, false, dir, "vanished", "mount")
			_ = l.Close(t.Context())
			if replaced {
				must(t, os.RemoveAll(dir))
			}
			must(t, os.Rename(away, dir))
			if l, err = startAs(t, durable.OS{}, w, config(dir)); err != nil || l.position() < flushed-2000 {
				t.Fatalf("position %s after %s was flushed: %v", l.position(), flushed, err)
			}
			l.mustDeliver(w, w.End())
			l.mustFlush()
			wantWAL(t, l, 1, w, w.Options().Start, 0)
			must(t, l.Close(t.Context()))
		}
	}
}
