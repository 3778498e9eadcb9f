package consistency

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/walplex/walplex/host/internal/golden/workload"
	"github.com/walplex/walplex/host/internal/postgres"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/slru"
)

//go:embed slru.sql
var slruScript string

// SLRURedo is what is checked: the functions of package slru, or the like with a
// fault.
type SLRURedo struct {
	Pages     func(rec *wal.Record, dst []slru.Page) []slru.Page
	Apply     func(page []byte, rec *wal.Record, p slru.Page) error
	Truncated func(rec *wal.Record, dst []slru.Truncation) []slru.Truncation
}

// OurSLRU is the redo of package slru.
func OurSLRU() SLRURedo {
	return SLRURedo{Pages: slru.Pages, Apply: slru.Apply, Truncated: slru.Truncated}
}

// slruKinds are all of them.
var slruKinds = []slru.Kind{slru.Xact, slru.MultiXactOffsets, slru.MultiXactMembers, slru.CommitTs}

// SLRUOptions are those of a cluster that [RecordSLRU] can run on.
func SLRUOptions(in postgres.Install) postgres.Options {
	o := workload.Options(in)
	o.Conf["wal_keep_size"] = "4GB"
	o.Conf["max_wal_size"] = "4GB"
	o.Conf["synchronous_commit"] = "off"
	return o
}

// SLRUWAL is WAL of which the server's files are also known as they were in its midst.
type SLRUWAL struct {
	WAL
	Middle    wal.LSN // before this record
	MiddleDir string  // a copy of the data directory's SLRUs as of then
}

// RecordSLRU runs slru.sql on a cluster made with SLRUOptions and started, and answers
// the WAL that it wrote, and the files before it, and those before everything is frozen.
// The server is stopped cleanly then, and so all of its SLRUs are in its files.
func RecordSLRU(ctx context.Context, c *postgres.Cluster) (*SLRUWAL, error) {
	w := &SLRUWAL{WAL: WAL{dir: c.WALDir(), base: filepath.Join(c.Dir(), "base"), files: map[string][]byte{}},
		MiddleDir: filepath.Join(c.Dir(), "middle")}
	if err := w.copyFiles(ctx, c); err != nil {
		return nil, err
	}
	before, after, ok := strings.Cut(slruScript, "\n\\middle\n")
	if !ok {
		return nil, errors.New("slru.sql has no middle")
	}
	if err := workload.Play(ctx, c, before+"\n"); err != nil {
		return nil, fmt.Errorf("slru.sql, up to its middle: %w", err)
	}
	var err error
	if w.Middle, err = c.SwitchWAL(ctx); err != nil {
		return nil, err
	}
	if err := c.Stop(ctx, postgres.Fast); err != nil {
		return nil, err
	}
	for _, dir := range []string{"pg_xact", "pg_multixact", "pg_commit_ts"} {
		if err := os.CopyFS(filepath.Join(w.MiddleDir, dir), os.DirFS(filepath.Join(c.DataDir(), dir))); err != nil {
			return nil, err
		}
	}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	if err := workload.Play(ctx, c, after); err != nil {
		return nil, fmt.Errorf("slru.sql, from its middle on: %w", err)
	}
	if err := w.end(ctx, c); err != nil {
		return nil, err
	}
	return w, c.Stop(ctx, postgres.Fast)
}

// slruPage names a page.
type slruPage struct {
	kind   slru.Kind
	number uint32
}

func (p slruPage) String() string { return slru.Page{Kind: p.kind, Number: p.number}.String() }

// SLRUPages are the pages as they are after the records so far.
type SLRUPages struct {
	Changed map[string]int // how many changes each kind of record made to pages
	Removed map[slru.Kind]int
	Middle  *Recovered // what came of comparing in the midst

	redo      SLRURedo
	pages     map[slruPage]*pageBytes
	list      []slru.Page
	truncated []slru.Truncation
	tracking  bool // times of commits are kept
	next      wal.XID
	unkept    map[slruPage]bool // pages of times that went all at once
}

// RedoSLRU begins with the files before the WAL, and redoes all of it.
func RedoSLRU(w *SLRUWAL, r SLRURedo) (*SLRUPages, error) {
	pages, err := readSLRU(w.base)
	if err != nil {
		return nil, err
	}
	s := &SLRUPages{Changed: map[string]int{}, Removed: map[slru.Kind]int{}, redo: r, pages: pages, unkept: map[slruPage]bool{}}
	for p := range pages {
		s.tracking = s.tracking || p.kind == slru.CommitTs
	}
	err = w.Each(func(rec *wal.Record) (err error) {
		if s.Middle == nil && rec.StartLSN >= w.Middle {
			if s.Middle, err = CompareSLRU(s, w.MiddleDir); err != nil {
				return err
			}
		}
		return s.record(rec)
	})
	return s, err
}

// readSLRU reads all pages of a data directory.
func readSLRU(dataDir string) (map[slruPage]*pageBytes, error) {
	pages := map[slruPage]*pageBytes{}
	for _, kind := range slruKinds {
		dir := filepath.Join(dataDir, filepath.FromSlash(kind.Dir()))
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			segment, err := strconv.ParseUint(f.Name(), 16, 32)
			if err != nil {
				return nil, fmt.Errorf("%s: %s is no file of an SLRU", dir, f.Name())
			}
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				return nil, err
			}
			for i := 0; i+wal.BlockSize <= len(b); i += wal.BlockSize {
				page := pageBytes(b[i:])
				pages[slruPage{kind, uint32(segment)*slru.PagesPerSegment + uint32(i/wal.BlockSize)}] = &page
			}
		}
	}
	return pages, nil
}

// record redoes one record.
func (s *SLRUPages) record(rec *wal.Record) error {
	s.list = s.redo.Pages(rec, s.list[:0])
	if on, told := slru.Tracking(rec); told && rec.Operation() == "PARAMETER_CHANGE" {
		if on && !s.tracking {
			s.list = append(s.list, slru.TrackingBegins(s.next))
		}
		s.tracking = on
	}
	for _, p := range s.list {
		key := slruPage{p.Kind, p.Number}
		page := s.pages[key]
		switch {
		case page != nil:
		case p.Existing:
			continue
		case !p.Init:
			return fmt.Errorf("%s at %s changes %s, which there is none of", rec.Operation(), rec.StartLSN, p)
		default:
			page = new(pageBytes)
			s.pages[key] = page
		}
		if err := s.redo.Apply(page[:], rec, p); err != nil {
			return err
		}
		s.Changed[fmt.Sprintf("%s %s: %s", rec.RmgrID, rec.Operation(), p.Kind)]++
	}
	s.truncated = s.redo.Truncated(rec, s.truncated[:0])
	for _, t := range s.truncated {
		for p := range s.pages {
			if p.kind == t.Kind && t.Removes(p.number) {
				delete(s.pages, p)
				s.Removed[p.kind]++
				s.unkept[p] = t.All
			}
		}
	}
	if next, ok := slru.NextXID(rec); ok && int32(next-s.next) > 0 || s.next == 0 {
		s.next = next
	}
	if rec.XID != 0 && int32(rec.XID-s.next) >= 0 {
		s.next = rec.XID + 1
	}
	return nil
}

// CompareSLRU compares all pages with those of a data directory of a server that was
// stopped cleanly, in every byte. The answer's Dropped are pages that are in the files
// alone: zeros, before the first page of a file that was written; and pages of times that
// are no longer kept, which a server that recovers may still have in its buffers, and
// writes again.
func CompareSLRU(s *SLRUPages, dataDir string) (*Recovered, error) {
	theirs, err := readSLRU(dataDir)
	if err != nil {
		return nil, err
	}
	var done Recovered
	fail := func(p slruPage, reason string) {
		if done.Failed++; len(done.Failures) < maxDifferences {
			done.Failures = append(done.Failures, p.String()+": "+reason)
		}
	}
	for p, want := range theirs {
		page := s.pages[p]
		switch {
		case page == nil && (*want == pageBytes{} || s.unkept[p]):
			done.Dropped++
		case page == nil:
			fail(p, "the server has it, redo has not")
		case *page != *want:
			fail(p, difference(page, want))
		default:
			done.Pages++
		}
	}
	for p := range s.pages {
		if theirs[p] == nil {
			fail(p, "redo has it, the server has not")
		}
	}
	slices.Sort(done.Failures)
	return &done, nil
}

// NearWraparound moves the ids of a stopped cluster, which no user has written to yet,
// close to their greatest value, with its own pg_resetwal: the next xid, multixact and
// member begin the last page of their SLRU. It starts the server between the moves,
// since an id must be less than 2^31 after the oldest one, and ends with it running.
func NearWraparound(ctx context.Context, c *postgres.Cluster) error {
	// Each is the first of its page, which the server then makes.
	const moves = 3
	for move := uint32(1); move <= moves; move++ {
		at := func(k slru.Kind, perPage uint32) string {
			return strconv.FormatUint(uint64(k.LastPage()/moves*move+k.LastPage()%moves*move/moves)*uint64(perPage), 10)
		}
		multi := at(slru.MultiXactOffsets, slru.OffsetsPerPage)
		out, err := c.Tool(ctx, "pg_resetwal", "--pgdata="+c.DataDir(),
			"--next-transaction-id="+at(slru.Xact, slru.XactsPerPage),
			"--multixact-ids="+multi+","+multi,
			"--multixact-offset="+at(slru.MultiXactMembers, slru.MembersPerPage)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("pg_resetwal: %w: %s", err, out)
		}
		if err := removeSLRU(c.DataDir()); err != nil {
			return err
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
		if err := freezeAll(ctx, c); err != nil {
			return err
		}
		if move < moves {
			if err := c.Stop(ctx, postgres.Fast); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeSLRU removes the times of commits: those of other xids would be left where the
// ids come to after the wraparound.
func removeSLRU(dataDir string) error {
	files, err := filepath.Glob(filepath.Join(dataDir, "pg_commit_ts", "*"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// freezeAll freezes every row of every database.
func freezeAll(ctx context.Context, c *postgres.Cluster) error {
	return workload.Play(ctx, c, `VACUUM FREEZE;
ALTER DATABASE template0 ALLOW_CONNECTIONS true;
\session template0 dbname=template0
VACUUM FREEZE;
\close template0
\session template1 dbname=template1
VACUUM FREEZE;
\close template1
ALTER DATABASE template0 ALLOW_CONNECTIONS false;
`)
}
