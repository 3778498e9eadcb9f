//go:build matrix

package matrix

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/golden/servers"
	"github.com/walplex/walplex/host/internal/golden/workload"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

const segment = wal.SegmentSize(workload.SegmentSizeMB << 20)

// program is the walplex binary under test.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "walplex-matrix-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "walplex")
		if out, err := exec.Command("go", "build", "-o", program, "github.com/walplex/walplex/host/cmd/walplex").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build walplex: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func TestMajors(t *testing.T) {
	cache, err := servers.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	for major := 14; major <= 18; major++ {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			in, err := servers.NPM(t.Context(), cache, major)
			if err != nil {
				t.Fatal(err)
			}
			c := startCluster(t, in)
			parts, err := workload.RunOneTimeline(t.Context(), c, postgres.Install{})
			if err != nil {
				t.Fatalf("%v\n%s", err, c.Log())
			}
			// The images that are compared have to be the last that happened to their pages.
			if err := c.Exec(t.Context(), imageSQL...); err != nil {
				t.Fatal(err)
			}
			if _, err := c.SwitchWAL(t.Context()); err != nil {
				t.Fatal(err)
			}
			end, err := c.FlushLSN(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			start := segment.LSN(parts[0].First)
			t.Run("inspect", func(t *testing.T) { compareInspect(t, c, start, end) })
			t.Run("images", func(t *testing.T) { compareImages(t, c, start, end) })
			t.Run("stream", func(t *testing.T) { compareStream(t, c, start, end) })
		})
	}
}

func startCluster(t *testing.T, in postgres.Install) *postgres.Cluster {
	t.Helper()
	c, err := postgres.New(t.Context(), workload.Options(in))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := c.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// records reads the server's segments from start to end: every check of the
// reader's, of CRC and xl_prev too, holds for them.
func records(t *testing.T, c *postgres.Cluster, start, end wal.LSN, use func(*wal.Record)) (n int) {
	t.Helper()
	r := xlogreader.New(start, xlogreader.Options{SegmentSize: segment, File: true, Timeline: 1, MaxWhole: 4 << 20})
	var rec wal.Record
	for segno := segment.SegNo(start); segment.LSN(segno) < end; segno++ {
		b, err := os.ReadFile(filepath.Join(c.WALDir(), segment.FileName(1, segno)))
		if err != nil {
			t.Fatal(err)
		}
		r.Feed(b)
		for {
			status, err := r.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if status != xlogreader.Record {
				break
			}
			if rec.EndLSN <= end {
				n++
				use(&rec)
			}
		}
	}
	if r.RecordsEnd() < end {
		t.Fatalf("the records end at %s, the server's WAL at %s", r.RecordsEnd(), end)
	}
	return n
}
