package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
)

// What the page cache is to reach, and what is read of it.
const (
	ingestGoal = 0.5 // of segment_file's throughput
	spaceGoal  = 1.5 // bytes on disk for a byte of WAL
	p50Goal    = 100 * time.Microsecond
	p99Goal    = time.Millisecond
	batchGoal  = 100_000 // pages a second

	readRecords = 16   // that make a page whose latency counts, at most
	batchPages  = 4096 // pages that are read again and again: half of the sink's memory for pages
	batchTime   = 3 * time.Second
	catchUpTime = 5 * time.Minute
)

// pagesTable measures the page cache: how fast WAL goes in, how much it takes on
// disk, and how fast pages come out.
func pagesTable(ctx context.Context, b *bench) (_ *report, err error) {
	if _, err := b.walplex(ctx); err != nil {
		return nil, err
	}
	c, err := b.newCorpus(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, destroy(ctx, c.Cluster)) }()
	r := &report{
		title: "Pages: what goes into the page cache, and what comes out",
		method: c.describe() + fmt.Sprintf(". Throughput is that of `walplex run` with `page_cache` alone, against `segment_file` alone, in pairs; the space is that of the sink's directory after it. "+
			"Reads beside ingest are of `pagestore`, in a process that takes the same WAL as fast as it can and reads, one at a time, pages that had an image or were begun anew not long ago; those made by at most %d records count, pages are not kept in memory, so that each is made by redo, and one run of all WAL is made. "+
			"Batches are `GetPages` of %d neighbouring pages as of the WAL's end, over the Unix socket of a running host, again and again for %s; the sink has them in memory.", readRecords, batchPages, batchTime),
		columns: []string{"", "measured", "goal", "met"},
	}
	for _, row := range []func(context.Context, *bench, *corpus, *report) error{ingestRows, readRows, batchRow} {
		if err := row(ctx, b, c, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add adds a row with a goal.
func (r *report) add(what, measured, goal string, met bool) {
	r.rows = append(r.rows, []string{what, "**" + measured + "**", goal, map[bool]string{true: "yes", false: "no"}[met]})
}

func pagesSink(dir string) []sinkText { return []sinkText{fileSink("page_cache", "pages", dir)} }

// ingestRows are throughput and space.
func ingestRows(ctx context.Context, b *bench, c *corpus, r *report) error {
	b.say("page_cache against segment_file")
	archive := func(dir string) []sinkText { return []sinkText{fileSink("segment_file", "archive", dir)} }
	var sizes []float64
	look := func(dir string, _ *cost) error {
		n, err := diskUsage(filepath.Join(dir, "pages"))
		sizes = append(sizes, float64(n))
		return err
	}
	ps, err := pairs(ctx, b.n, c.walplex(b, pagesSink, look), c.walplex(b, archive, nil))
	if err != nil {
		return err
	}
	gb := c.volume / 1e9
	rate := median(ps, faster)
	r.add("ingest: throughput, of `segment_file`'s", fmt.Sprintf("%.2f", rate), fmt.Sprintf("≥ %.1f", ingestGoal), rate >= ingestGoal)
	for _, row := range [][2]string{
		{"ingest: `page_cache`", fmt.Sprintf("%.0f MB/s", c.volume/1e6/median(ps, oursElapsed))},
		{"ingest: `segment_file`", fmt.Sprintf("%.0f MB/s", c.volume/1e6/median(ps, peerElapsed))},
		{"ingest: CPU of host and `page_cache`", fmt.Sprintf("%.2f s a GB", median(ps, func(p pair) float64 { return p.ours.cpu.Seconds() / gb }))},
		{"ingest: CPU of host and `segment_file`", fmt.Sprintf("%.2f s a GB", median(ps, func(p pair) float64 { return p.peer.cpu.Seconds() / gb }))},
	} {
		r.rows = append(r.rows, []string{row[0], row[1], "", ""})
	}
	space := middle(sizes) / c.volume
	r.add("space: bytes on disk for a byte of WAL", fmt.Sprintf("%.2f", space), fmt.Sprintf("≤ %.1f", spaceGoal), space <= spaceGoal)
	return nil
}

// diskUsage is what the files below a directory take on disk, bytes.
func diskUsage(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n += st.Blocks * 512 // st_blocks counts these, whatever the file system's own
		}
		return nil
	})
	return n, err
}

// readRows are the latencies of reads beside ingest.
func readRows(ctx context.Context, b *bench, c *corpus, r *report) (err error) {
	b.say("reads while WAL comes in")
	program := filepath.Join(b.dir, "pagereads")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/walplex/walplex/host/internal/bench/pagereads").CombinedOutput(); err != nil {
		return fmt.Errorf("build pagereads: %w\n%s", err, out)
	}
	dir, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove(dir, &err)
	system, err := c.QueryString(ctx, "SELECT system_identifier FROM pg_control_system()")
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd := exec.CommandContext(ctx, program, "--system", system, "--records", fmt.Sprint(readRecords), filepath.Join(dir, "store"), c.WALDir(), c.start.String(), c.end.String())
	cmd.Stdout = &out
	if _, err := measure(cmd); err != nil {
		return err
	}
	var result struct {
		Reads int           `json:"reads"`
		P50   time.Duration `json:"p50_ns"`
		P99   time.Duration `json:"p99_ns"`
	}
	if err := json.Unmarshal([]byte(out.String()), &result); err != nil {
		return err
	}
	if result.Reads == 0 {
		return errors.New("no page was read while WAL came in")
	}
	us := func(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d)/1e3) }
	r.add(fmt.Sprintf("read beside ingest, ≤ %d records: median of %d", readRecords, result.Reads), us(result.P50), "≤ "+us(p50Goal), result.P50 <= p50Goal)
	r.add("the same: 99 % of them within", us(result.P99), "≤ "+us(p99Goal), result.P99 <= p99Goal)
	return nil
}

// batchRow is how many pages a second GetPages answers.
func batchRow(ctx context.Context, b *bench, c *corpus, r *report) (err error) {
	b.say("batches of pages")
	dir, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove(dir, &err)
	conf := configuration{dsn: c.DSN(), slot: runSlot, sinks: pagesSink(dir)}
	path, err := conf.write(dir)
	if err != nil {
		return err
	}
	if err := c.slot(ctx); err != nil {
		return err
	}
	first, err := c.accounts(ctx)
	if err != nil {
		return err
	}
	p, err := startBackground(exec.CommandContext(ctx, b.binary, "run", path), dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end(os.Interrupt)) }()
	rate, err := batches(ctx, filepath.Join(dir, "pages", "pages.sock"), first, c.end, p)
	if err != nil {
		return err
	}
	r.add("`GetPages` of pages in memory, pages a second", fmt.Sprintf("%.0f", rate), fmt.Sprintf("≥ %d", batchGoal), rate >= batchGoal)
	return nil
}

// accounts is the first page of pgbench_accounts.
func (c *corpus) accounts(ctx context.Context) (first pageclient.PageName, err error) {
	text, err := c.QueryString(ctx, "SELECT '1663/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || pg_relation_filenode('pgbench_accounts')")
	if err != nil {
		return first, err
	}
	first.Rel, err = pageclient.ParseRelation(text)
	return first, err
}

// batches reads the pages from first on again and again, once they are there.
func batches(ctx context.Context, socket string, first pageclient.PageName, at wal.LSN, p *background) (rate float64, err error) {
	client, err := pageclient.Dial(socket)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := reached(ctx, client, at, p); err != nil {
		return 0, err
	}
	one := func() (n int, err error) {
		err = client.Range(ctx, first, batchPages, pageclient.AsOf{LSN: at}, func(part *pagepb.GetPagesResponse) error {
			if len(part.Faults) > 0 {
				return fmt.Errorf("page %d: %s", part.Faults[0].Index, part.Faults[0].Reason)
			}
			n += len(part.EndLsns)
			return nil
		})
		return n, err
	}
	if _, err := one(); err != nil { // so that they are in memory
		return 0, err
	}
	begin, pages := time.Now(), 0
	for time.Since(begin) < batchTime {
		n, err := one()
		if err != nil {
			return 0, err
		}
		pages += n
	}
	return float64(pages) / time.Since(begin).Seconds(), nil
}

// reached waits until the sink can answer as of an LSN.
func reached(ctx context.Context, client *pageclient.Client, at wal.LSN, p *background) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	tick := time.NewTicker(lagSample)
	defer tick.Stop()
	for {
		_, err := client.Wait(ctx, at, catchUpTime)
		if err == nil {
			return nil
		}
		select { // it may not listen yet
		case <-tick.C:
		case ended := <-p.done:
			p.done <- ended
			return p.explain(errors.Join(errors.New("it has ended"), ended))
		case <-ctx.Done():
			return err
		}
	}
}
