package redo

import (
	"bytes"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/wal"
)

// What no server's record does: that is here. All else that the redo of Heap and
// Heap2 does, host/internal/consistency holds against real servers.

// heapPage is a heap page with tuples of these data.
func heapPage(t testing.TB, data ...string) *page {
	t.Helper()
	p := new(page)
	p.init(0)
	for i, d := range data {
		tup, err := p.placeTuple(len(d)+1, i+1)
		if err != nil {
			t.Fatal(err)
		}
		tup.begin(heapHeader{infomask2: 1, infomask: heapXmaxInvalid, hoff: 24}, 700, 7, i+1)
		copy(tup[24:], d)
	}
	p.setLSN(1)
	return p
}

// insertData is the data of an INSERT's block 0.
func insertData(data string) []byte {
	return cat(u16s(1, heapXmaxInvalid), []byte{24, 0}, []byte(data))
}

func TestHeapRefused(t *testing.T) {
	for name, c := range map[string]struct {
		rmgr   wal.RmgrID
		info   uint8
		main   []byte
		block  testBlock
		reason string
	}{
		"short main data":       {wal.RmgrHeap, 0x00, []byte{1}, testBlock{data: insertData("x")}, "too short"},
		"short block data":      {wal.RmgrHeap, 0x00, cat(u16s(3), []byte{0}), testBlock{data: []byte{1}}, "too short"},
		"insert without number": {wal.RmgrHeap, 0x00, cat(u16s(0), []byte{0}), testBlock{data: insertData("x")}, "without number"},
		"insert over a tuple":   {wal.RmgrHeap, 0x00, cat(u16s(1), []byte{0}), testBlock{data: insertData("x")}, "will not overwrite"},
		"insert beyond the end": {wal.RmgrHeap, 0x00, cat(u16s(9), []byte{0}), testBlock{data: insertData("x")}, "too large"},
		"insert without room":   {wal.RmgrHeap, 0x00, cat(u16s(3), []byte{0}), testBlock{data: insertData(strings.Repeat("x", 8100))}, "no room"},
		"delete of none":        {wal.RmgrHeap, 0x10, cat(u32s(5), u16s(3, 0)), testBlock{}, "no line pointer 3 among 2"},
		"delete of number 0":    {wal.RmgrHeap, 0x10, cat(u32s(5), u16s(0, 0)), testBlock{}, "no line pointer 0"},
		"inplace, longer":       {wal.RmgrHeap, 0x70, u16s(1), testBlock{data: make([]byte, 9)}, "wrong tuple length"},
		"update of too much": {wal.RmgrHeap, 0x20, cat(u32s(5), u16s(1, 0x20<<8), u32s(0), u16s(3)),
			testBlock{data: cat(u16s(500), insertData(""))}, "takes 500 and 0 bytes"},
		"rest of a multi insert": {wal.RmgrHeap2, 0x50, u16s(0, 0), testBlock{data: []byte{1, 2}}, "length mismatch"},
		"prune of none":          {wal.RmgrHeap2, 0x10, cat(u32s(0), u16s(0, 1)), testBlock{data: u16s(3)}, "no line pointer 3"},
		"freeze of none":         {wal.RmgrHeap2, 0x30, cat(u32s(0), u16s(1)), testBlock{data: cat(u32s(0), u16s(9, 0, 0, 0))}, "no line pointer 9"},
		"freeze, short":          {wal.RmgrHeap2, 0x30, cat(u32s(0), u16s(2)), testBlock{data: cat(u32s(0), u16s(1, 0, 0, 0))}, "too short"},
		"visible without a heap": {wal.RmgrHeap2, 0x40, cat(u32s(0), []byte{3}), testBlock{}, "has no block 1"},
		"sequence without room":  {wal.RmgrSequence, 0x00, make([]byte, 9000), testBlock{init: true}, "no room"},
		"generic, beyond":        {wal.RmgrGeneric, 0x00, nil, testBlock{data: cat(u16s(8190, 4), make([]byte, 4))}, "do not fit"},
		"generic, no page then":  {wal.RmgrGeneric, 0x00, nil, testBlock{data: cat(u16s(14, 2), u16s(9000))}, "corrupted page pointers"},
		"an unknown operation":   {wal.RmgrHeap, 0x30, nil, testBlock{}, "nothing is known"},
		"an extension's":         {128, 0x00, nil, testBlock{}, "nothing is known"},
		"FPI without an image":   {wal.RmgrXLOG, 0xB0, nil, testBlock{}, "without an image"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, heapPage(t, "one", "two"), testRecord(wal.PG15, c.rmgr, c.info, c.main, c.block), c.reason)
		})
	}
	rec := testRecord(wal.PG15, wal.RmgrHeap, 0x10, cat(u32s(5), u16s(1, 0)), testBlock{})
	refused(t, new(page), rec, "never initialised")
	damaged := heapPage(t, "one")
	damaged.setLower(9000)
	refused(t, damaged, rec, "corrupted page pointers")
	damaged = heapPage(t, "one")
	damaged.setID(1, makeItemID(8000, lpNormal, 400))
	refused(t, damaged, rec, "corrupted line pointer 1")
	damaged.setID(1, makeItemID(8160, lpDead, 24))
	refused(t, damaged, rec, "not LP_NORMAL")
	if err := Apply(make([]byte, 100), rec, 0, new(wal.Images)); err == nil {
		t.Error("a page of 100 bytes was taken")
	}
	for _, i := range []int{-1, 1} {
		if err := Apply(make([]byte, pageSize), rec, i, new(wal.Images)); err == nil {
			t.Errorf("there is no block reference %d", i)
		}
	}
	part := *rec
	part.Data = part.Data[:len(part.Data)-1]
	refused(t, heapPage(t, "one"), &part, "only a part")
	part = *rec
	part.Version = 13
	refused(t, heapPage(t, "one"), &part, "nothing is known")
}

// PG14's pruning leaves unused line pointers at the end; since PG15 they go.
func TestPruneTruncates(t *testing.T) {
	for v, want := range map[wal.Version]int{wal.PG14: 3, wal.PG15: 1, wal.PG16: 1} {
		p := heapPage(t, "one", "two", "three")
		redoBlock(t, p, testRecord(v, wal.RmgrHeap2, 0x10, cat(u32s(0), u16s(0, 0)), testBlock{data: u16s(2, 3)}), 0)
		if n := p.maxOffset(); n != want {
			t.Errorf("%s: %d line pointers, want %d", v, n, want)
		}
		if free := p.flags()&pdHasFreeLines != 0; free != (v == wal.PG14) {
			t.Errorf("%s: PD_HAS_FREE_LINES %t", v, free)
		}
		if p.lsn() != endLSN {
			t.Errorf("%s: pd_lsn %s", v, p.lsn())
		}
	}
}

// A tuple that PG8's VACUUM FULL moved can only come from an old cluster.
func TestFreezeXvac(t *testing.T) {
	for flags, want := range map[uint16]uint32{0: 7, xlhFreezeXvac: frozenXID, xlhInvalidXvac: 0} {
		p := heapPage(t, "one")
		tup, err := p.heapTuple(1)
		if err != nil {
			t.Fatal(err)
		}
		tup.setField3(7)
		redoBlock(t, p, testRecord(wal.PG15, wal.RmgrHeap2, 0x30, cat(u32s(0), u16s(1)), testBlock{data: cat(u32s(9), u16s(1, 2, 3, flags))}), 0)
		if got := le.Uint32(tup[8:]); got != want {
			t.Errorf("flags %d: %d, want %d", flags, got, want)
		}
		if le.Uint32(tup[4:]) != 9 || tup.infomask2() != 2 || tup.infomask() != 3 {
			t.Errorf("the tuple is %x", tup[:tupleHeaderSize])
		}
	}
}

func TestImplied(t *testing.T) {
	const far = 3*vmHeapBlocksPage + 5 // a heap page whose bits are on page 3 of the map, byte 1, from bit 2 on
	rel := wal.RelFileLocator{Spc: 1, DB: 2, Rel: 3}
	update := func(flags uint8) []byte { return cat(u32s(5), []byte{1, 0, 0, flags}, u32s(0), u16s(2)) }
	for name, c := range map[string]struct {
		rec  *wal.Record
		want string // page 3 of the map after it, of bytes ff ff ff
	}{
		"insert":                  {testRecord(wal.PG15, wal.RmgrHeap, 0x00, []byte{1, 0, 1}, testBlock{block: far}), "fff3ff"},
		"insert, not needed":      {testRecord(wal.PG15, wal.RmgrHeap, 0x00, []byte{1, 0, 0}, testBlock{block: far}), "ffffff"},
		"delete":                  {testRecord(wal.PG15, wal.RmgrHeap, 0x10, cat(u32s(5), []byte{1, 0, 0, 1}), testBlock{block: far}), "fff3ff"},
		"lock":                    {testRecord(wal.PG15, wal.RmgrHeap, 0x60, cat(u32s(5), []byte{1, 0, 0, 1}), testBlock{block: far}), "fff7ff"},
		"lock updated":            {testRecord(wal.PG15, wal.RmgrHeap2, 0x60, cat(u32s(5), []byte{1, 0, 0, 1}), testBlock{block: far}), "fff7ff"},
		"multi insert":            {testRecord(wal.PG15, wal.RmgrHeap2, 0x50, []byte{1, 0, 1, 0}, testBlock{block: far}), "fff3ff"},
		"update, new":             {testRecord(wal.PG15, wal.RmgrHeap, 0x20, update(2), testBlock{block: far}, testBlock{id: 1, block: far + 3}), "fff3ff"},
		"update, old":             {testRecord(wal.PG15, wal.RmgrHeap, 0x20, update(1), testBlock{block: far}, testBlock{id: 1, block: far + 3}), "fffffc"},
		"update, both":            {testRecord(wal.PG15, wal.RmgrHeap, 0x40, update(3), testBlock{block: far}), "fff3ff"},
		"short":                   {testRecord(wal.PG15, wal.RmgrHeap, 0x40, []byte{1}, testBlock{block: far}), "ffffff"},
		"without a block":         {testRecord(wal.PG15, wal.RmgrHeap, 0x00, []byte{1, 0, 1}), "ffffff"},
		"truncate":                {testRecord(wal.PG15, wal.RmgrStorage, 0x20, u32s(far, 1, 2, 3, smgrTruncateVM)), "ff0300"},
		"truncate, map not meant": {testRecord(wal.PG15, wal.RmgrStorage, 0x20, u32s(far, 1, 2, 3, 1)), "ffffff"},
	} {
		for i := range c.rec.Blocks {
			c.rec.Blocks[i].Rel = rel
		}
		p := new(page)
		p.init(0)
		for i := range 3 {
			p[headerSize+i] = 0xFF
		}
		for _, b := range Implied(c.rec, nil) {
			if b.Rel != rel || b.Fork != wal.VisibilityMapFork || b.Block != 3 {
				t.Errorf("%s: %+v is implied", name, b)
			}
			if err := ApplyImplied(p[:], c.rec, b); err != nil {
				t.Error(err)
			}
			fresh := new(page)
			if err := ApplyImplied(fresh[:], c.rec, b); err != nil || *fresh != (page{}) {
				t.Errorf("%s: %v, or a page that is new is not left alone", name, err)
			}
		}
		if got := hexOf(p[headerSize : headerSize+3]); got != c.want {
			t.Errorf("%s: the map is %s, want %s", name, got, c.want)
		}
	}
}

// A record that names the map's page, since 17.11 and 18.6, implies it no more.
func TestNamedMap(t *testing.T) {
	rec := testRecord(wal.PG17, wal.RmgrHeap, 0x10, cat(u32s(5), []byte{1, 0, 0, 1}), testBlock{block: 5}, testBlock{id: 1})
	rec.Blocks[1].Fork = wal.VisibilityMapFork
	if got := Implied(rec, nil); len(got) != 0 {
		t.Errorf("%+v is implied", got)
	}
	p := new(page)
	p.init(0)
	p[headerSize+1] = 0xFF
	redoBlock(t, p, rec, 1)
	if p[headerSize+1] != 0xF3 || p.lsn() != endLSN {
		t.Errorf("the map is %x, pd_lsn %s", p[headerSize+1], p.lsn())
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

// FuzzHeap redoes what is no record on what is no page.
func FuzzHeap(f *testing.F) {
	p := heapPage(f, "one", "two", "three")
	mains := [][]byte{cat(u16s(4), []byte{0}), cat(u32s(5), u16s(1, 0xFF1F)), cat(u32s(5), u16s(1, 0x60<<8), u32s(0), u16s(4)), u16s(0, 1, 4), {2, 0xF4, 1, 0, 0, 0}, u16s(0, 0, 1, 1)}
	datas := [][]byte{nil, insertData("x"), cat(u16s(1, 1), insertData("y")), u16s(1, 2, 3), cat(u32s(1), u16s(1, 2, 3, 0)), cat(u16s(1, 0), u32s(1), u16s(2, 3, 0, 1, 1, 1, 2, 1, 3, 1, 2, 1))}
	for n, main := range mains {
		for op := range uint8(8) {
			f.Add(uint16(0), []byte{}, uint8(n), op<<4, op, main, datas[(n+int(op))%len(datas)], op%2 == 0)
			f.Add(uint16(headerSize), []byte{0xFF, 0x1F}, uint8(n/2), op<<4, op/2, main, datas[n%len(datas)], true)
		}
	}
	f.Fuzz(func(t *testing.T, at uint16, patch []byte, rmgr, info, version uint8, main, data []byte, vm bool) {
		if len(data) > 65535 {
			return
		}
		content := *p
		copy(content[int(at)%pageSize:], patch)
		id := []wal.RmgrID{wal.RmgrHeap, wal.RmgrHeap2, wal.RmgrSequence, wal.RmgrGeneric}[rmgr%4]
		rec := testRecord(wal.PG14+wal.Version(version%5), id, info, main, testBlock{id: 0, block: 7, data: data}, testBlock{id: 1, block: 8, data: data}, testBlock{id: 2, init: true, data: data})
		if vm {
			rec.Blocks[1].Fork = wal.VisibilityMapFork
		}
		for i := range rec.Blocks {
			fuzzApply(t, content, rec, i)
		}
		for _, b := range Implied(rec, nil) {
			page := content
			if err := ApplyImplied(page[:], rec, b); err != nil {
				t.Error(err)
			}
		}
	})
}

// fuzzApply redoes, masks, and checks that errors leave the page alone.
func fuzzApply(t *testing.T, before page, rec *wal.Record, i int) {
	p := before
	err := Apply(p[:], rec, i, new(wal.Images))
	switch {
	case err != nil && p != before:
		t.Fatalf("with %v it changed the page", err)
	case err == nil && p.check() != nil && !p.isNew():
		t.Fatalf("it left behind %v", p.check())
	}
	Mask(p[:], rec.RmgrID, rec.Blocks[i].Fork, rec.Blocks[i].Block)
	masked := p
	Mask(p[:], rec.RmgrID, rec.Blocks[i].Fork, rec.Blocks[i].Block)
	if !bytes.Equal(p[:], masked[:]) {
		t.Fatal("a masked page, masked again, is another")
	}
}
