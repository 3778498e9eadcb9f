package pagecache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// backupFiles are a data directory's, as far as it matters here.
var backupFiles = map[string][]byte{
	"base/5/16384":           pagesOf(300, 1),
	"base/5/16384_vm":        pagesOf(1, 2),
	"base/5/16385.1":         pagesOf(2, 3), // after a first segment, which a test cannot have
	"base/5/16386":           nil,
	"base/5/16387":           append(pagesOf(3, 4), 1, 2, 3), // it grew meanwhile
	"base/5/16388":           make([]byte, 5*wal.BlockSize),  // never logged
	"base/5/t3_16389":        pagesOf(1, 5),
	"base/7/16384":           pagesOf(2, 6),
	"base/5/PG_VERSION":      []byte("15\n"),
	"base/5/pg_filenode.map": relMapOf(7),
	"global/pg_filenode.map": relMapOf(8),
	"global/1262":            pagesOf(1, 9),
	"pg_tblspc/16400/PG_15_202209061/5/16390": pagesOf(1, 10),
	"pg_xact/0001":              pagesOf(2, 11),
	"pg_multixact/members/0000": pagesOf(1, 12),
	"backup_manifest":           []byte("{}"),
}

// relMapOf is a relation map of PG15.
func relMapOf(fill byte) []byte {
	b := append(bytes.Repeat([]byte{fill}, 504), make([]byte, 8)...)
	copy(b, []byte{0x17, 0x27, 0x59, 0})
	binary.LittleEndian.PutUint32(b[504:], crc32.Checksum(b[:504], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// pagesOf are n pages, each another.
func pagesOf(n int, fill byte) []byte {
	var b []byte
	for i := range n {
		p := waltest.HeapPage(100+i%4000, fill)
		b = append(b, p...)
	}
	return b
}

// importBackup gives the sink a base backup, in pieces of such a size.
func importBackup(t testing.TB, s *sink, files map[string][]byte, start, end wal.LSN, piece int) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.BeginBackup(ctx, &sdk.BackupStart{Start: wal.Position{Timeline: 1, LSN: start}}))
	must(s.BackupFile(ctx, &sdk.BackupFile{Name: "base", Mode: fs.ModeDir}))
	for name, b := range files {
		must(s.BackupFile(ctx, &sdk.BackupFile{Name: name, Size: int64(len(b))}))
		for len(b) > 0 {
			n := min(piece, len(b))
			must(s.BackupData(ctx, b[:n]))
			b = b[n:]
		}
	}
	must(s.EndBackup(ctx, wal.Position{Timeline: 1, LSN: end}))
}

// TestBackup begins with a base backup and reads all of it back.
func TestBackup(t *testing.T) {
	w := waltest.New(waltest.Options{})
	start, _ := w.Append(waltest.FullPageImage(testRel, 299, waltest.HeapPage(200, 77)))
	for _, piece := range []int{1000, wal.BlockSize, 100_000} {
		c := &Config{Directory: "/pages", Listen: filepath.Join(shortDir(t), "s"), BaseBackup: true, Databases: []string{"5"}}
		s := newSink(c, vfs.NewMem())
		res, err := s.Open(t.Context(), &sdk.OpenRequest{System: testSystem})
		if err != nil || !res.WantsBackup || !res.New {
			t.Fatalf("opened: %+v, %v", res, err)
		}
		importBackup(t, s, backupFiles, start, start, piece)
		checkBackup(t, s, start)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		res, err = s.Open(t.Context(), &sdk.OpenRequest{System: testSystem})
		if err != nil || res.WantsBackup || res.New || res.Position.LSN != start {
			t.Fatalf("opened again: %+v, %v", res, err)
		}
		checkBackup(t, s, start)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func checkBackup(t *testing.T, s *sink, at wal.LSN) {
	t.Helper()
	ctx := t.Context()
	c, err := pageclient.Dial(s.config.listen())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rel := func(spc, db, rel wal.OID) wal.RelFileLocator { return wal.RelFileLocator{Spc: spc, DB: db, Rel: rel} }
	sizes := []struct {
		rel    wal.RelFileLocator
		fork   wal.ForkNumber
		blocks int // -1: does not exist
		file   string
	}{
		{rel(1663, 5, 16384), wal.MainFork, 300, "base/5/16384"},
		{rel(1663, 5, 16384), wal.VisibilityMapFork, 1, "base/5/16384_vm"},
		{rel(1663, 5, 16384), wal.FSMFork, -1, ""},
		{rel(1663, 5, 16385), wal.MainFork, 131074, ""},
		{rel(1663, 5, 16386), wal.MainFork, 0, ""},
		{rel(1663, 5, 16387), wal.MainFork, 3, "base/5/16387"},
		{rel(1663, 5, 16388), wal.MainFork, 5, "base/5/16388"},
		{rel(1663, 5, 16389), wal.MainFork, -1, ""},
		{rel(1664, 0, 1262), wal.MainFork, 1, "global/1262"},
		{rel(16400, 5, 16390), wal.MainFork, 1, "pg_tblspc/16400/PG_15_202209061/5/16390"},
	}
	forks, total := 0, uint64(0)
	for _, tt := range sizes {
		res, err := c.RelSize(ctx, tt.rel, tt.fork, pageclient.AsOf{LSN: at})
		exists, existsErr := c.RelExists(ctx, tt.rel, tt.fork, pageclient.AsOf{LSN: at})
		if existsErr != nil || exists.Exists != (tt.blocks >= 0) || exists.Lsn != uint64(at) {
			t.Errorf("%v: exists: %v, %v", tt, exists, existsErr)
		}
		if tt.blocks < 0 {
			wantCode(t, err, codes.NotFound, "")
			continue
		}
		if err != nil || int(res.Blocks) != tt.blocks || res.Lsn != uint64(at) {
			t.Errorf("%v: %v, %v", tt, res, err)
		}
		forks++
		if tt.rel.DB == 5 {
			total += uint64(tt.blocks) * wal.BlockSize
		}
		if tt.file == "" {
			continue
		}
		var got []byte
		err = c.Range(ctx, pageclient.PageName{Rel: tt.rel, Fork: tt.fork}, 0, pageclient.AsOf{LSN: at}, func(r *pagepb.GetPagesResponse) error {
			if r.Lsn != uint64(at) || len(r.Faults) > 0 {
				t.Errorf("%v: as of %s, faults %v", tt, wal.LSN(r.Lsn), r.Faults)
			}
			got = append(got, r.Pages...)
			return nil
		})
		if want := backupFiles[tt.file]; err != nil || !bytes.Equal(got, want[:len(want)&^8191]) {
			t.Errorf("%v: %d bytes, %v", tt, len(got), err)
		}
	}
	listed := 0
	err = c.List(ctx, nil, pageclient.AsOf{}, func(lsn wal.LSN, f *pagepb.RelFork) error {
		listed++
		for _, tt := range sizes {
			if tt.rel == pageclient.Locator(f.Relation) && tt.fork == wal.ForkNumber(f.Fork) && tt.blocks == int(f.Blocks) {
				return nil
			}
		}
		t.Errorf("listed: %v", f)
		return nil
	})
	if err != nil || listed != forks {
		t.Errorf("listed %d forks, want %d: %v", listed, forks, err)
	}
	if db, err := c.DbSize(ctx, 5, pageclient.AsOf{LSN: at}); err != nil || db.Bytes != total {
		t.Errorf("size of the database: %v, %v, want %d", db, err, total)
	}
	for db, fill := range map[wal.OID]byte{5: 7, 0: 8} {
		spc := wal.OID(1663)
		if db == 0 {
			spc = 1664
		}
		m, err := c.RelMap(ctx, spc, db, pageclient.AsOf{LSN: at})
		if err != nil || !bytes.Equal(m.GetFile(), relMapOf(fill)) {
			t.Errorf("relation map of %d: %d bytes, %v", db, len(m.GetFile()), err)
		}
	}
	for _, tt := range []struct {
		slru pagepb.SLRU
		page uint32
		want []byte
	}{{pagepb.SLRU_SLRU_XACT, 33, backupFiles["pg_xact/0001"][8192:]}, {pagepb.SLRU_SLRU_MULTIXACT_MEMBERS, 0, backupFiles["pg_multixact/members/0000"]}} {
		res, err := c.SLRUPage(ctx, tt.slru, tt.page, pageclient.AsOf{LSN: at})
		if err != nil || !bytes.Equal(res.GetImage().GetPage(), tt.want) {
			t.Errorf("page %d of %s: %v", tt.page, tt.slru, err)
		}
	}
	_, err = c.Page(ctx, pageclient.PageRequest{Rel: rel(1663, 7, 16384)})
	if !pageclient.IsNotKept(err) {
		t.Errorf("of another database: %v", err)
	}
}

// TestPages reads pages by name: what cannot be had is told beside the others.
func TestPages(t *testing.T) {
	w := waltest.New(waltest.Options{})
	var ends []wal.LSN
	for i := range 2*chunkPages + 5 {
		_, end := w.Append(waltest.FullPageImage(testRel, wal.BlockNumber(i), waltest.HeapPage(50, byte(i))))
		ends = append(ends, end)
	}
	w.Append(waltest.HeapInsert(700, testRel, 5000, 2, []byte("x")))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	c := l.client()
	var names []pageclient.PageName
	for i := len(ends) - 1; i >= 0; i-- {
		names = append(names, pageclient.PageName{Rel: testRel, Block: wal.BlockNumber(i)})
	}
	names = append(names, pageclient.PageName{Rel: testRel, Block: 5000}, pageclient.PageName{Rel: testRel, Block: 6000})
	n := 0
	err := c.Pages(t.Context(), names, pageclient.AsOf{}, func(r *pagepb.GetPagesResponse) error {
		if r.Lsn != uint64(w.End()) {
			t.Errorf("as of %s", wal.LSN(r.Lsn))
		}
		for i, end := range r.EndLsns {
			page := r.Pages[i*8192:][:8192]
			switch at := len(ends) - 1 - n; {
			case at >= 0:
				if wal.LSN(end) != ends[at] || page[8191] != byte(at) {
					t.Errorf("page %d: of %s, ends with %d", at, wal.LSN(end), page[8191])
				}
			case end != 0 || !bytes.Equal(page, make([]byte, 8192)):
				t.Errorf("page %d is answered", n)
			}
			n++
		}
		if n == len(names) {
			if len(r.Faults) != 2 || codes.Code(r.Faults[0].Code) != codes.FailedPrecondition || codes.Code(r.Faults[1].Code) != codes.NotFound ||
				int(r.Faults[1].Index) != len(r.EndLsns)-1 {
				t.Errorf("faults: %v", r.Faults)
			}
		} else if len(r.Faults) > 0 {
			t.Errorf("faults: %v", r.Faults)
		}
		return nil
	})
	if err != nil || n != len(names) {
		t.Errorf("%d pages, %v", n, err)
	}
	refused := []struct {
		call func() error
		says string
	}{
		{func() error { return c.Pages(t.Context(), make([]pageclient.PageName, 1), pageclient.AsOf{}, nil) }, "names no relation"},
		{func() error {
			return c.Pages(t.Context(), make([]pageclient.PageName, maxPages+1), pageclient.AsOf{}, nil)
		}, "it can name 4096 pages"},
		{func() error {
			return c.Range(t.Context(), pageclient.PageName{Rel: testRel, Block: 1 << 31}, 1<<31+1, pageclient.AsOf{}, nil)
		}, "beyond the last"},
		{func() error {
			return c.Range(t.Context(), pageclient.PageName{Rel: testRel, Fork: 4}, 1, pageclient.AsOf{}, nil)
		}, "there is no fork 4"},
	}
	for _, tt := range refused {
		wantCode(t, tt.call(), codes.InvalidArgument, tt.says)
	}
	err = c.Range(t.Context(), pageclient.PageName{Rel: testRel}, 1, pageclient.AsOf{LSN: 1}, nil)
	wantCode(t, err, codes.OutOfRange, "")
}

// BenchmarkGetPages reads pages of a base backup through a socket.
func BenchmarkGetPages(b *testing.B) {
	const pages = 32 << 10
	dir := shortDir(b)
	s := newSink(&Config{Directory: filepath.Join(dir, "d"), BaseBackup: true}, vfs.Default)
	if _, err := s.Open(b.Context(), &sdk.OpenRequest{System: testSystem}); err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context())
	importBackup(b, s, map[string][]byte{"base/5/16384": pagesOf(pages, 1)}, 0x100000, 0x100000, 256<<10)
	c, err := pageclient.Dial(s.config.listen())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetBytes(pages * wal.BlockSize)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		err := c.Range(b.Context(), pageclient.PageName{Rel: testRel}, 0, pageclient.AsOf{}, func(r *pagepb.GetPagesResponse) error {
			n += len(r.EndLsns)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if n != b.N*pages {
		b.Fatalf("%d pages", n)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pages/s")
}
