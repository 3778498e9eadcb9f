package pagestore

import (
	"fmt"
	"hash/crc32"

	"github.com/walplex/walplex/sdk/wal"
)

// A relation map file (pg_filenode.map) names the files of catalogs whose
// relation file number is in no catalog: one in the directory of each database,
// and one of the shared catalogs. It is read as a page of a pseudo relation:
// {0, database, 5}, block the tablespace, whose first bytes are the file's.
// A record brings the whole file, and so is a base of the page, like an image.
const (
	relMapRel = 5

	relMapUpdate = 0x00 // XLOG_RELMAP_UPDATE (utils/relmapper.h)
)

// RelMapPage names the page that holds the relation map of a database, of the
// shared catalogs where db is 0 and spc 1664 (pg_global). [RelMapFile] cuts the
// file out of it. A base backup's file is imported as that page, padded to
// [wal.BlockSize].
func RelMapPage(spc, db wal.OID) PageID {
	return PageID{Rel: wal.RelFileLocator{DB: db, Rel: relMapRel}, Block: wal.BlockNumber(spc)}
}

// isRelMap reports that the page is RelMapPage's.
func (p PageID) isRelMap() bool { return p.Rel.Spc == 0 && p.Rel.Rel == relMapRel }

// database is the directory that the page's file lies in.
func (p PageID) database() database {
	if p.isRelMap() {
		return database{spc: wal.OID(p.Block), db: p.Rel.DB}
	}
	return database{spc: p.Rel.Spc, db: p.Rel.DB}
}

// in is the page of the same place in another directory.
func (p PageID) in(d database) PageID {
	if p.isRelMap() {
		return RelMapPage(d.spc, d.db)
	}
	p.Rel.Spc, p.Rel.DB = d.spc, d.db
	return p
}

// relMapOf reads a record that brings a relation map. xl_relmap_update
// (utils/relmapper.h): dbid, tsid u32, nbytes i32, data.
func relMapOf(rec *wal.Record) (id PageID, file []byte, ok bool) {
	main := rec.MainData()
	if rec.RmgrID != wal.RmgrRelMap || rec.Info&infoMask != relMapUpdate || len(main) < 12 {
		return PageID{}, nil, false
	}
	n := le.Uint32(main[8:])
	if n > wal.BlockSize || int(n) > len(main)-12 {
		return PageID{}, nil, false
	}
	return RelMapPage(wal.OID(le.Uint32(main[4:])), wal.OID(le.Uint32(main))), main[12 : 12+n], true
}

// noteRelMap adds the key of a relation map that the record at ptr brings.
func (p *pending) noteRelMap(rec *wal.Record, ptr pointer) {
	if id, _, ok := relMapOf(rec); ok {
		ptr.flags |= flagImage
		p.pages = append(p.pages, makePageEntry(id.Rel, id.Fork, id.Block, rec.EndLSN, ptr))
	}
}

// applyRelMap makes the page the relation map that the record brings.
func (r *replay) applyRelMap(rec *wal.Record) error {
	id, file, ok := relMapOf(rec)
	if !ok || id != r.id {
		return fmt.Errorf("%w: the index says that %s %s at %s changes the relation map of database %d, and the record does not; make the cache anew from an empty directory",
			ErrDamaged, rec.RmgrID, rec.Operation(), rec.StartLSN, r.id.Rel.DB)
	}
	clear(r.page[copy(r.page, file):])
	return nil
}

// Layout of a relation map file (RelMapFile of utils/cache/relmapper.c): magic i32,
// number of mappings i32, MAX_MAPPINGS mappings of 8 bytes, CRC-32C of what
// precedes it; 62 mappings and 4 bytes of padding before PG16, 64 since.
const (
	relMapMagic     = 0x592717 // RELMAPPER_FILEMAGIC
	relMapCRC14     = 8 + 62*8
	relMapCRC16     = 8 + 64*8
	relMapPadding14 = 4
)

// RelMapFile cuts the relation map file out of its page ([RelMapPage]): 512
// bytes before PG16, 524 since. A page whose checksum fits neither is
// [ErrDamaged].
func RelMapFile(page []byte) ([]byte, error) {
	holds := func(crc int) bool {
		return len(page) >= crc+4 && le.Uint32(page) == relMapMagic && crc32.Checksum(page[:crc], castagnoli) == le.Uint32(page[crc:])
	}
	switch {
	case holds(relMapCRC14):
		return page[:relMapCRC14+4+relMapPadding14], nil
	case holds(relMapCRC16):
		return page[:relMapCRC16+4], nil
	}
	return nil, fmt.Errorf("%w: a relation map with an incorrect magic number or checksum", ErrDamaged)
}
