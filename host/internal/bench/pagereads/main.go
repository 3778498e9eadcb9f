// Command pagereads reads pages of the page_cache's store while WAL goes into it,
// as the sink's process does both, and prints how long reads took, as JSON:
//
//	pagereads [--records N] [--system ID] [--cpuprofile FILE] DIRECTORY WALDIR START END
//
// The store is made in DIRECTORY, of the records from START to END of the segments
// in WALDIR, as fast as it takes them. The pages that are read are some that
// were begun anew, or had an image, last; those that more than N records make do not
// count. None is kept in
// memory, so that each read is one by redo.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/xlogreader"
)

// Sizes.
const (
	piece      = 256 << 10 // of WAL between two looks at whether to commit, bytes
	candidates = 8192      // pages from which those that are read are taken
	maxSamples = 4 << 20
)

// Result is what is printed.
type Result struct {
	Reads  int           `json:"reads"` // that count
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Ingest float64       `json:"ingest_seconds"`
}

func main() {
	var limit int
	var system uint64
	var profile string
	cmd := &cobra.Command{
		Use:           "pagereads DIRECTORY WALDIR START END",
		Args:          cobra.ExactArgs(4),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := pprof.StartCPUProfile(f); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			return run(ctx, args, limit, system)
		},
	}
	cmd.Flags().IntVar(&limit, "records", 16, "`N` records at most make a page that counts; 0: nothing is read")
	cmd.Flags().Uint64Var(&system, "system", 0, "`ID`entifier of the system whose WAL it is")
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "`FILE` to write a CPU profile to")
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "pagereads:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, limit int, system uint64) (err error) {
	start, err := wal.ParseLSN(args[2])
	if err != nil {
		return err
	}
	end, err := wal.ParseLSN(args[3])
	if err != nil {
		return err
	}
	store, err := pagestore.Open(ctx, args[0], pagestore.Options{CacheBytes: -1}) // so that every read is one by redo
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(ctx)) }()
	store.Begin(system, 1, wal.DefaultSegmentSize, start)
	var pages recent
	reads, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer stop()
	var times []time.Duration
	var readErr error
	if limit > 0 {
		reading.Go(func() { times, readErr = read(reads, store, &pages, limit) })
	}
	begin := time.Now()
	if err := ingest(ctx, store, args[1], start, end, &pages); err != nil {
		return err
	}
	r := Result{Ingest: time.Since(begin).Seconds()}
	stop()
	reading.Wait()
	if readErr != nil {
		return readErr
	}
	slices.Sort(times)
	if n := len(times); n > 0 {
		r.Reads, r.P50, r.P99 = n, times[n/2], times[n*99/100]
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// recent are pages that were begun anew, or had an image, not long ago: few records
// make them.
type recent struct {
	mu   sync.Mutex
	list []pagestore.PageID
}

// add offers those pages of a record.
func (r *recent) add(rec *wal.Record) {
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		if !b.WillInit() && !b.ApplyImage() {
			continue
		}
		id := pagestore.PageID{Rel: b.Rel, Fork: b.Fork, Block: b.Block}
		r.mu.Lock()
		if len(r.list) < candidates {
			r.list = append(r.list, id)
		} else {
			r.list[rand.IntN(candidates)] = id
		}
		r.mu.Unlock()
	}
}

// one is one of them.
func (r *recent) one() (pagestore.PageID, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return pagestore.PageID{}, false
	}
	return r.list[rand.IntN(len(r.list))], true
}

// ingest has the store take the records from start to end.
func ingest(ctx context.Context, store *pagestore.Store, dir string, start, end wal.LSN, pages *recent) error {
	const size = wal.SegmentSize(wal.DefaultSegmentSize)
	r := xlogreader.New(size.Start(start), xlogreader.Options{SegmentSize: size, Timeline: 1, File: true})
	var rec wal.Record
	last := start
	for seg := size.SegNo(start); size.LSN(seg) < end; seg++ {
		b, err := os.ReadFile(filepath.Join(dir, size.FileName(1, seg)))
		if err != nil {
			return err
		}
		for from := 0; from < len(b); from += piece {
			r.Feed(b[from : from+piece])
			for {
				status, err := r.Next(&rec)
				if err != nil {
					return err
				}
				if status == xlogreader.NeedMore || status == xlogreader.EndOfWAL {
					break
				}
				if rec.StartLSN < start {
					continue
				}
				if err := store.Append(&rec); err != nil {
					return err
				}
				last = rec.EndLSN
				pages.add(&rec)
			}
			if store.Full() {
				if err := store.Commit(ctx, pagestore.Progress{Position: last, LastValid: last}); err != nil {
					return err
				}
			}
		}
	}
	return store.Commit(ctx, pagestore.Progress{Position: last, LastValid: last})
}

// read reads pages until ctx ends, and answers how long those took that count.
func read(ctx context.Context, store *pagestore.Store, pages *recent, limit int) (times []time.Duration, _ error) {
	page := make([]byte, wal.BlockSize)
	for ctx.Err() == nil && len(times) < maxSamples {
		id, ok := pages.one()
		if !ok {
			if _, err := store.Wait(ctx, 1); err != nil && ctx.Err() == nil {
				return nil, err
			}
			continue
		}
		begin := time.Now()
		a, err := store.ReadPageInto(ctx, id, 0, page)
		took := time.Since(begin)
		switch {
		case err == nil && a.Records <= limit:
			times = append(times, took)
		case err == nil, ctx.Err() != nil, errors.Is(err, pagestore.ErrNotFound), errors.Is(err, pagestore.ErrNoBase):
		default:
			return nil, err
		}
	}
	return times, nil
}
