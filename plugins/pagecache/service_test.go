package pagecache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

// wantCode fails unless err has the code and says so.
func wantCode(t *testing.T, err error, code codes.Code, says string) {
	t.Helper()
	if pageclient.Code(err) != code || !strings.Contains(err.Error(), says) {
		t.Fatalf("got %v (%s), want %s that says %q", err, pageclient.Code(err), code, says)
	}
}

// TestImages reads pages back from images as servers store them.
func TestImages(t *testing.T) {
	page := waltest.HeapPage(3000, 0x5A)
	lower, upper := binary.LittleEndian.Uint16(page[12:]), binary.LittleEndian.Uint16(page[14:])
	packed := append(append([]byte(nil), page[:lower]...), page[upper:]...)

	var c lz4.Compressor
	lz := make([]byte, lz4.CompressBlockBound(len(packed)))
	n, err := c.CompressBlock(packed, lz)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()

	images := []waltest.Block{
		{Image: page},
		{Image: page, Flags: wal.BlockImageHole},
		{Image: lz[:n], Flags: wal.BlockImageLZ4 | wal.BlockImageHole, HoleOffset: lower, HoleLen: upper - lower},
		{Image: enc.EncodeAll(packed, nil), Flags: wal.BlockImageZSTD | wal.BlockImageHole, HoleOffset: lower, HoleLen: upper - lower},
		{Image: enc.EncodeAll(page, nil), Flags: wal.BlockImageZSTD},
	}
	w := waltest.New(waltest.Options{})
	w.FillTo(64) // the records lie across pages
	var ends []wal.LSN
	for i := range images {
		images[i].Rel, images[i].Block, images[i].Apply = testRel, wal.BlockNumber(i), true
		_, end := w.Append(waltest.Record{Rmgr: wal.RmgrXLOG, Info: 0xB0, Blocks: images[i : i+1]})
		ends = append(ends, end)
	}
	// A page without content keeps LSN 0.
	_, end := w.Append(waltest.FullPageImage(testRel, wal.BlockNumber(len(images)), make([]byte, wal.BlockSize)))
	ends = append(ends, end)

	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	client := l.client()
	for i, end := range ends {
		res, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, Block: wal.BlockNumber(i), LSN: end})
		if err != nil {
			t.Fatal(err)
		}
		want := append([]byte(nil), page...)
		binary.LittleEndian.PutUint32(want, uint32(end>>32))
		binary.LittleEndian.PutUint32(want[4:], uint32(end))
		if i == len(images) {
			want = make([]byte, wal.BlockSize)
		}
		if got := res.GetImage(); !bytes.Equal(got.GetPage(), want) || got.EndLsn != uint64(end) || res.Lsn != uint64(end) {
			t.Fatalf("image %d: another page", i)
		}
	}
}

// waiting returns once n calls are being served.
func waiting(t *testing.T, l *life, n int) {
	t.Helper()
	for len(l.sink.service.calls) < n {
		if t.Context().Err() != nil {
			t.Fatal("no call came")
		}
		runtime.Gosched()
	}
}

// TestWait reads ahead of the WAL.
func TestWait(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, first := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 1)))
	start, second := w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(100, 2)))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	client := l.client()

	type answer struct {
		res *pagepb.GetPageResponse
		err error
	}
	read := func(lsn wal.LSN, wait time.Duration) <-chan answer {
		done := make(chan answer, 1)
		before := len(l.sink.service.calls)
		go func() {
			res, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: lsn, Wait: wait})
			done <- answer{res, err}
		}()
		if wait == 0 || wait > time.Second {
			waiting(t, l, before+1)
		}
		return done
	}

	// Nothing was received yet: a read of the latest page waits for the first WAL.
	_, err := client.Wait(t.Context(), 0, 10*time.Millisecond)
	wantCode(t, err, codes.DeadlineExceeded, "nothing was received yet")
	latest, ahead := read(0, 0), read(second, time.Minute)

	// Written is not there yet; flushed is.
	l.deliver(start + 16)
	_, err = client.Wait(t.Context(), first, 10*time.Millisecond)
	wantCode(t, err, codes.DeadlineExceeded, "nothing was received yet")
	if got := l.flush(); got > start {
		t.Fatalf("flushed %s", got)
	}
	if a := <-latest; a.err != nil || a.res.GetImage().GetEndLsn() != uint64(first) || a.res.Lsn != uint64(start+16) {
		t.Fatalf("the latest page: %v", a)
	}
	// The middle of a record is as good an LSN as any, when the WAL reaches it.
	res, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: start + 16})
	if err != nil || res.GetImage().GetEndLsn() != uint64(first) {
		t.Fatalf("in the middle of the record: %v, %v", res, err)
	}
	_, err = client.Page(t.Context(), pageclient.PageRequest{Rel: testRel, LSN: start + 17, Wait: 10 * time.Millisecond})
	wantCode(t, err, codes.DeadlineExceeded, "WAL was received up to "+(start+16).String()+" on timeline 1, not up to "+(start+17).String())

	// Another piece of the record moves the last-valid LSN without a new position.
	more := read(start+32, time.Minute)
	l.deliver(start + 32)
	l.flush()
	if a := <-more; a.err != nil || a.res.GetImage().GetEndLsn() != uint64(first) {
		t.Fatalf("further in the record: %v", a)
	}

	l.all()
	if a := <-ahead; a.err != nil || a.res.GetImage().GetEndLsn() != uint64(second) {
		t.Fatalf("the page ahead: %v", a)
	}
	if got, err := client.Wait(t.Context(), second, time.Minute); err != nil || got != second {
		t.Fatalf("waited for %s: %s, %v", second, got, err)
	}
}

// TestCloseEndsWaits has a client hear of the end instead of waiting on.
func TestCloseEndsWaits(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.Commit(700, time.Unix(0, 0)))
	l := begin(t, vfs.NewMem(), "/pages", w)
	l.all()
	client := l.client()
	done := make(chan error, 1)
	go func() {
		_, err := client.Wait(t.Context(), w.End()+8, 0)
		done <- err
	}()
	waiting(t, l, 1)
	l.close()
	if err := <-done; pageclient.Code(err) != codes.Unavailable || err.Error() != "the page cache is closed" {
		t.Fatalf("got %v", err)
	}
}

func TestRequests(t *testing.T) {
	w := waltest.New(waltest.Options{Start: 3 << 20})
	w.Append(waltest.HeapInsert(700, testRel, 0, 1, []byte("x")))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	client := l.client()
	tests := []struct {
		r    pageclient.PageRequest
		code codes.Code
		says string
	}{
		{pageclient.PageRequest{}, codes.InvalidArgument, "names no relation"},
		{pageclient.PageRequest{Rel: testRel, Fork: 4}, codes.InvalidArgument, "there is no fork 4"},
		{pageclient.PageRequest{Rel: testRel, LSN: 3<<20 - 1}, codes.OutOfRange, "it began at 0/300000, and holds nothing as of 0/2FFFFF"},
		{pageclient.PageRequest{Rel: testRel, LSN: 3 << 20}, codes.NotFound, "no record from 0/300000, where the page cache begins, to 0/300000 touched block 0"},
		{pageclient.PageRequest{Rel: testRel, Block: 1}, codes.NotFound, "touched block 1 of relation 1663/5/16384, fork main"},
		{pageclient.PageRequest{Rel: testRel, LSN: w.End() + 1, Wait: time.Millisecond}, codes.DeadlineExceeded, "LSN not reached"},
	}
	for _, tt := range tests {
		_, err := client.Page(t.Context(), tt.r)
		wantCode(t, err, tt.code, tt.says)
	}
	for range maxCalls {
		l.sink.service.calls <- struct{}{}
	}
	_, err := client.Page(t.Context(), pageclient.PageRequest{Rel: testRel})
	wantCode(t, err, codes.ResourceExhausted, "1024 calls are running or waiting")
	_, err = client.Wait(t.Context(), 0, 0)
	wantCode(t, err, codes.ResourceExhausted, "1024 calls are running or waiting")
	for range maxCalls {
		<-l.sink.service.calls
	}
	st, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end := uint64(w.End())
	if st.SystemIdentifier != waltest.DefaultSystemID || st.Timeline != 1 || st.HorizonLsn != 3<<20 || st.LastRecordLsn != end ||
		st.LastValidLsn != end || st.FlushedLsn != end || st.ValuesBytes == 0 || st.IndexBytes == 0 {
		t.Fatalf("status %v", st)
	}
}

// TestBatchesAreLimited has as many calls send pages as may: the next one waits
// for one of them to end.
func TestBatchesAreLimited(t *testing.T) {
	w := waltest.New(waltest.Options{})
	w.Append(waltest.FullPageImage(testRel, 0, waltest.HeapPage(4000, 1)))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	client := l.client()
	for range maxBatches {
		l.sink.service.batches <- struct{}{}
	}
	pages := func(wait time.Duration) (n int, err error) {
		err = client.Pages(t.Context(), []pageclient.PageName{{Rel: testRel}}, pageclient.AsOf{Wait: wait}, func(r *pagepb.GetPagesResponse) error {
			n += len(r.Pages) / wal.BlockSize
			return nil
		})
		return n, err
	}
	done := make(chan error, 1)
	go func() {
		n, err := pages(0)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d pages", n)
		}
		done <- err
	}()
	waiting(t, l, 1)
	select {
	case err := <-done:
		t.Fatalf("a call went beyond the limit: %v", err)
	default:
	}
	<-l.sink.service.batches
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestGetCommand is what walplex page get does.
func TestGetCommand(t *testing.T) {
	w := waltest.New(waltest.Options{})
	_, imaged := w.Append(waltest.FullPageImage(testRel, 7, waltest.HeapPage(4000, 1)))
	for i := range 25 {
		w.Append(waltest.HeapInsert(700, testRel, 7, uint16(9+i), []byte("x")))
	}
	w.Append(waltest.HeapInsert(700, testRel, 8, 1, []byte("x")))
	w.Append(waltest.HeapInsert(700, testRel, 9, 2, []byte("x")))
	l := begin(t, vfs.NewMem(), "/pages", w)
	defer l.close()
	l.all()
	socket := l.sink.config.listen()
	get := func(o pageclient.GetOptions) (string, error) {
		if o.From == "" {
			o.From = socket
		}
		var out bytes.Buffer
		err := pageclient.GetPage(t.Context(), &out, o)
		return out.String(), err
	}
	out, err := get(pageclient.GetOptions{Relation: "1663/5/16384", Block: 7, LSN: imaged.String()})
	if err != nil || len(out) != 8192 || out[8191] != 1 {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	// All 25 tuples are on the page now.
	out, err = get(pageclient.GetOptions{Relation: "1663/5/16384", Block: 7})
	if err != nil || len(out) != 8192 || binary.LittleEndian.Uint16([]byte(out[12:])) != 24+4*(8+25) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	if out, err = get(pageclient.GetOptions{Relation: "1663/5/16384", Block: 8}); err != nil || len(out) != 8192 {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	tests := []struct {
		o    pageclient.GetOptions
		says string
	}{
		{pageclient.GetOptions{Relation: "1663/5/16384", Block: 9}, "no base of the page yet: the first record that is held of block 9 of relation 1663/5/16384, fork main, Heap INSERT from "},
		{pageclient.GetOptions{Relation: "1663/5/16384", Fork: "vm"}, "page not found"},
		{pageclient.GetOptions{Relation: "1663/5/16384", LSN: "0/9000000", Wait: time.Millisecond}, "LSN not reached"},
		{pageclient.GetOptions{Relation: "16384"}, `"16384" is not a relation: write TABLESPACE/DATABASE/RELATION`},
		{pageclient.GetOptions{Relation: "1663/5/0"}, `"1663/5/0" is not a relation`},
		{pageclient.GetOptions{Relation: "1663/5/4294967296"}, "is not a relation"},
		{pageclient.GetOptions{Relation: "1663/5/16384/1"}, "is not a relation"},
		{pageclient.GetOptions{Relation: "1663/5/16384", Fork: "mian"}, `"mian" is not a fork`},
		{pageclient.GetOptions{Relation: "1663/5/16384", LSN: "x"}, `"x" is not an LSN`},
		{pageclient.GetOptions{From: "/nowhere/s", Relation: "1663/5/16384"}, "no page_cache sink answers at /nowhere/s: connect: no such file or directory; start walplex"},
	}
	for _, tt := range tests {
		out, err := get(tt.o)
		if err == nil || out != "" || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: wrote %d bytes, %v, want %q", tt.o, len(out), err, tt.says)
		}
	}
	if err := pageclient.GetPage(t.Context(), nil, pageclient.GetOptions{}); err == nil || !strings.Contains(err.Error(), "name the socket") {
		t.Errorf("without a socket: %v", err)
	}
}
