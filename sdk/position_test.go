package sdk

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/wal"
)

func openPosition(t *testing.T, fsys durable.FS) (*PositionFile[map[string]int], error) {
	t.Helper()
	return OpenPositionFile[map[string]int](t.Context(), fsys, "/data/deep", &OpenRequest{System: System{ID: 7}})
}

// Whatever is lost with the power, position and state belong together, and what
// was saved is there.
func TestPositionFile(t *testing.T) {
	disk := crashfs.New()
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 50 {
		p, err := openPosition(t, disk)
		if err != nil {
			t.Fatal(err)
		}
		r := p.Result()
		if r.New != (n == 0) || r.SystemID != 7 || int(r.Position.LSN) != 8*n || p.State["n"] != n {
			t.Fatalf("life %d: %+v, %v", n, r, p.State)
		}
		p.State = map[string]int{"n": n + 1}
		if err := p.Save(wal.Position{Timeline: 1, LSN: wal.LSN(8 * (n + 1))}); err != nil {
			t.Fatal(err)
		}
		p.State["n"] = -1 // never saved
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		disk = disk.Crash(rnd)
	}
}

func TestPositionFileIsLocked(t *testing.T) {
	disk := crashfs.New()
	p, err := openPosition(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPosition(t, disk); err == nil {
		t.Error("two sinks have the same directory")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err = openPosition(t, disk); err != nil || !p.Result().New {
		t.Errorf("%v", err)
	}
}

func TestPositionFileFaults(t *testing.T) {
	for text, want := range map[string]string{
		`{"format":2,"state":"of another kind"}`: "has the format 2",
		`{"format":1,`:                           "is damaged",
		`{"format":1,"system_id":"7","timeline":1,"lsn":"zero","state":{}}`:        "holds no position",
		`{"format":1,"system_id":"7","timeline":1,"lsn":"0/8","state":"a string"}`: "is damaged",
	} {
		disk := crashfs.New()
		if err := disk.MkdirAll("/data/deep", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFileAtomic(disk, "/data/deep/position.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openPosition(t, disk); !IsPermanent(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	disk := crashfs.New()
	p, err := openPosition(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	p.State = maps.Clone(map[string]int{"n": 1})
	full := errors.New("no space left")
	disk.Inject(crashfs.Always(crashfs.OpSync, "*", &crashfs.Fault{Err: full}))
	if err := p.Save(wal.Position{Timeline: 1, LSN: 8}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if p.Position().LSN != 0 {
		t.Error("what was not saved is the position")
	}
	if _, err := disk.OpenFile("/data/deep/position.json", os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
