package replay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

const infoMask = 0xF0 // ~XLR_INFO_MASK

// Operations (access/xact.h, catalog/storage_xlog.h, commands/dbcommands_xlog.h,
// commands/tablespace.h, utils/relmapper.h, catalog/pg_control.h), and bits of
// TRUNCATE's flags and of xinfo.
const (
	xactOpMask         = 0x70
	xactHasInfo        = 0x80
	xactCommit         = 0x00
	xactAbort          = 0x20
	xactCommitPrepared = 0x30
	xactAbortPrepared  = 0x40

	xinfoHasDBInfo   = 1 << 0
	xinfoHasSubxacts = 1 << 1
	xinfoHasRels     = 1 << 2

	smgrCreate   = 0x10
	smgrTruncate = 0x20
	truncateHeap = 0x1
	truncateVM   = 0x2
	truncateFSM  = 0x4

	dbaseCreateFileCopy = 0x00
	dbaseCreateWALLog   = 0x10 // since PG15
	dbaseDrop           = 0x20 // since PG15
	dbaseDrop14         = 0x10

	tablespaceCreate = 0x00
	tablespaceDrop   = 0x10

	relMapUpdate  = 0x00
	xlogBackupEnd = 0x50
)

// heapBlocksPerMapPage is HEAPBLOCKS_PER_PAGE (access/heap/visibilitymap.c).
const heapBlocksPerMapPage = (wal.BlockSize - 24) * 4

// effects does what a record does to files rather than to pages.
func (e *engine) effects(rec *wal.Record) error {
	switch rec.RmgrID {
	case wal.RmgrTransaction:
		if err := e.slrus.record(rec); err != nil || rec.Info&xactHasInfo == 0 {
			return err
		}
		return e.dropped(rec)
	case wal.RmgrCLOG, wal.RmgrMultiXact, wal.RmgrCommitTs:
		return e.slrus.record(rec)
	case wal.RmgrStorage:
		return e.storage(rec)
	case wal.RmgrDatabase:
		return e.database(rec)
	case wal.RmgrTablespace:
		return e.tablespace(rec)
	case wal.RmgrRelMap:
		return e.relMap(rec)
	case wal.RmgrXLOG:
		if rec.Info&infoMask == xlogBackupEnd {
			e.control.backup = false
		}
		return e.slrus.record(rec)
	}
	return nil
}

// short is the error of a record whose main data has fewer bytes than its kind
// has fields.
func short(rec *wal.Record) error {
	return wal.Errorf(rec.StartLSN, "could not replay %s %s at %s: its main data is too short", rec.RmgrID, rec.Operation(), rec.StartLSN)
}

// locator reads a RelFileLocator.
func locator(b []byte) wal.RelFileLocator {
	return wal.RelFileLocator{Spc: wal.OID(le.Uint32(b)), DB: wal.OID(le.Uint32(b[4:])), Rel: wal.OID(le.Uint32(b[8:]))}
}

// dropped removes the relations that a commit or abort drops (xl_xact_commit and
// what follows it: xact_time i64, xinfo u32, dbId and tsId, nsubxacts i32 and as
// many u32, nrels i32 and as many RelFileLocators).
func (e *engine) dropped(rec *wal.Record) error {
	switch rec.Info & xactOpMask {
	case xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared:
	default:
		return nil
	}
	b := rec.MainData()
	if len(b) < 12 {
		return short(rec)
	}
	xinfo := le.Uint32(b[8:])
	if xinfo&xinfoHasRels == 0 {
		return nil
	}
	b = b[12:]
	if xinfo&xinfoHasDBInfo != 0 {
		b = b[min(8, len(b)):]
	}
	if xinfo&xinfoHasSubxacts != 0 && len(b) >= 4 {
		b = b[min(4+4*uint64(le.Uint32(b)), uint64(len(b))):]
	}
	if len(b) < 4 || uint64(len(b)-4) < 12*uint64(le.Uint32(b)) {
		return short(rec)
	}
	n := le.Uint32(b)
	for i := range n {
		if err := e.drop(locator(b[4+12*i:])); err != nil {
			return err
		}
	}
	return nil
}

// drop removes a relation.
func (e *engine) drop(rel wal.RelFileLocator) error {
	for number := wal.MainFork; number <= wal.InitFork; number++ {
		f, err := e.disk.fork(forkID{rel, number})
		if err != nil {
			return err
		}
		e.forgive(func(id pageID) bool { return id.forkID == f.id })
		e.window.discard(f, 0)
		if err := e.disk.remove(f); err != nil {
			return err
		}
	}
	return nil
}

// forgive forgets pages that were not there.
func (e *engine) forgive(gone func(pageID) bool) {
	for id := range e.invalid {
		if gone(id) {
			delete(e.invalid, id)
		}
	}
}

// storage does xl_smgr_create (rlocator, forkNum) and xl_smgr_truncate (blkno,
// rlocator, flags).
func (e *engine) storage(rec *wal.Record) error {
	main := rec.MainData()
	switch op := rec.Info & infoMask; {
	case op == smgrCreate && len(main) >= 16:
		f, err := e.disk.fork(forkID{locator(main), wal.ForkNumber(le.Uint32(main[12:]))})
		if err != nil {
			return err
		}
		return e.disk.create(f)
	case op == smgrTruncate && len(main) >= 20:
		return e.truncate(locator(main[4:]), wal.BlockNumber(le.Uint32(main)), le.Uint32(main[16:]))
	case op == smgrCreate || op == smgrTruncate:
		return short(rec)
	}
	return nil
}

func (e *engine) truncate(rel wal.RelFileLocator, blocks wal.BlockNumber, flags uint32) error {
	for _, part := range []struct {
		fork   wal.ForkNumber
		flag   uint32
		blocks wal.BlockNumber
	}{
		{wal.FSMFork, truncateFSM, 0}, // what stays of it, no record says
		{wal.VisibilityMapFork, truncateVM, (blocks + heapBlocksPerMapPage - 1) / heapBlocksPerMapPage},
		{wal.MainFork, truncateHeap, blocks},
	} {
		if flags&part.flag == 0 {
			continue
		}
		f, err := e.disk.fork(forkID{rel, part.fork})
		if err != nil {
			return err
		}
		e.forgive(func(id pageID) bool { return id.forkID == f.id && id.block >= part.blocks })
		e.window.discard(f, part.blocks)
		if err := e.disk.truncate(f, part.blocks); err != nil {
			return err
		}
	}
	return nil
}

// database does the records of Database: xl_dbase_create_file_copy_rec (db_id,
// tablespace_id, src_db_id, src_tablespace_id), xl_dbase_create_wal_log_rec
// (db_id, tablespace_id), xl_dbase_drop_rec (db_id, ntablespaces, tablespace_ids).
func (e *engine) database(rec *wal.Record) error {
	main := rec.MainData()
	if len(main) < 8 {
		return short(rec)
	}
	db, second := wal.OID(le.Uint32(main)), wal.OID(le.Uint32(main[4:]))
	op, old := rec.Info&infoMask, rec.Version < wal.PG15
	switch {
	case op == dbaseCreateFileCopy:
		if len(main) < 16 {
			return short(rec)
		}
		return e.copyDatabase(rec.StartLSN, second, db, wal.OID(le.Uint32(main[12:])), wal.OID(le.Uint32(main[8:])))
	case op == dbaseCreateWALLog && !old:
		return e.makeDatabase(second, db, rec.Version)
	case op == dbaseDrop && !old, op == dbaseDrop14 && old:
		if uint64(len(main)-8) < 4*uint64(second) {
			return short(rec)
		}
		for i := range second {
			if err := e.dropDatabase(wal.OID(le.Uint32(main[8+4*i:])), db); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropDatabase removes what a database has in a tablespace.
func (e *engine) dropDatabase(spc, db wal.OID) error {
	var gone []*fork
	for _, f := range e.disk.forks {
		if f.id.rel.Spc == spc && f.id.rel.DB == db {
			gone = append(gone, f)
		}
	}
	for _, f := range gone {
		e.window.discard(f, 0)
		if err := e.disk.closeFork(f); err != nil {
			return err
		}
		e.disk.forget(f)
	}
	e.forgive(func(id pageID) bool { return id.rel.Spc == spc && id.rel.DB == db })
	dir := e.disk.database(spc, db)
	e.disk.changed[filepath.Dir(dir)] = struct{}{}
	return os.RemoveAll(dir)
}

// makeDatabase makes a database's directory, whose files records make.
func (e *engine) makeDatabase(spc, db wal.OID, v wal.Version) error {
	dir := e.disk.database(spc, db)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	name := filepath.Join(dir, "PG_VERSION")
	e.disk.changed[filepath.Dir(dir)], e.disk.changed[dir], e.disk.changed[name] = struct{}{}, struct{}{}, struct{}{}
	return os.WriteFile(name, fmt.Appendf(nil, "%d\n", uint8(v)), 0o600)
}

// copyDatabase makes a database of another one's files.
func (e *engine) copyDatabase(at wal.LSN, spc, db, fromSpc, fromDB wal.OID) error {
	if err := e.dropDatabase(spc, db); err != nil {
		return err
	}
	source := func(f *fork) bool { return f.id.rel.Spc == fromSpc && f.id.rel.DB == fromDB }
	if err := e.flush(at); err != nil {
		return err
	}
	for _, f := range e.disk.forks {
		if source(f) {
			if err := e.disk.fill(f); err != nil {
				return err
			}
		}
	}
	from, to := e.disk.database(fromSpc, fromDB), e.disk.database(spc, db)
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	e.disk.changed[filepath.Dir(to)], e.disk.changed[to] = struct{}{}, struct{}{}
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range list {
		name := filepath.Join(to, entry.Name())
		if err := copyFile(filepath.Join(from, entry.Name()), name); err != nil {
			return err
		}
		e.disk.changed[name] = struct{}{}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// tablespace does xl_tblspc_create_rec (ts_id, ts_path) and xl_tblspc_drop_rec
// (ts_id). What is made lies in the data directory, wherever the server had it;
// of what is dropped, the link goes, and what it leads to stays.
func (e *engine) tablespace(rec *wal.Record) error {
	main := rec.MainData()
	if len(main) < 4 {
		return short(rec)
	}
	parent := filepath.Join(e.disk.dir, "pg_tblspc")
	dir := filepath.Join(parent, fmt.Sprint(le.Uint32(main)))
	e.disk.changed[parent] = struct{}{}
	switch rec.Info & infoMask {
	case tablespaceCreate:
		inner := filepath.Join(dir, e.disk.catalog)
		e.disk.changed[dir], e.disk.changed[inner] = struct{}{}, struct{}{}
		return os.MkdirAll(inner, 0o700)
	case tablespaceDrop:
		return os.RemoveAll(dir)
	}
	return nil
}

// relMap writes a relation map (xl_relmap_update: dbid, tsid, nbytes, data).
func (e *engine) relMap(rec *wal.Record) error {
	if rec.Info&infoMask != relMapUpdate {
		return nil
	}
	main := rec.MainData()
	if len(main) < 12 || uint64(len(main)-12) < uint64(le.Uint32(main[8:])) {
		return short(rec)
	}
	dir := e.disk.database(wal.OID(le.Uint32(main[4:])), wal.OID(le.Uint32(main)))
	name := filepath.Join(dir, relfile.RelMapName)
	temporary := name + ".tmp"
	if err := os.WriteFile(temporary, main[12:12+le.Uint32(main[8:])], 0o600); err != nil {
		return err
	}
	if err := syncPath(temporary); err != nil {
		return err
	}
	e.disk.changed[dir] = struct{}{}
	return os.Rename(temporary, name)
}
