package wal

// operationNames says what each resource manager of PG18 calls the operation in
// the high four bits of xl_info (the rm_identify functions of
// access/rmgrdesc/*.c and their callees' headers).
var operationNames = [RmgrMaxBuiltin + 1][16]string{
	RmgrXLOG: { // catalog/pg_control.h
		0x0: "CHECKPOINT_SHUTDOWN", 0x1: "CHECKPOINT_ONLINE", 0x2: "NOOP", 0x3: "NEXTOID",
		0x4: "SWITCH", 0x5: "BACKUP_END", 0x6: "PARAMETER_CHANGE", 0x7: "RESTORE_POINT",
		0x8: "FPW_CHANGE", 0x9: "END_OF_RECOVERY", 0xA: "FPI_FOR_HINT", 0xB: "FPI",
		0xD: "OVERWRITE_CONTRECORD", 0xE: "CHECKPOINT_REDO",
	},
	RmgrTransaction: { // access/xact.h
		0x0: "COMMIT", 0x1: "PREPARE", 0x2: "ABORT", 0x3: "COMMIT_PREPARED",
		0x4: "ABORT_PREPARED", 0x5: "ASSIGNMENT", 0x6: "INVALIDATION",
	},
	RmgrStorage:    {0x1: "CREATE", 0x2: "TRUNCATE"},                                                   // catalog/storage_xlog.h
	RmgrCLOG:       {0x0: "ZEROPAGE", 0x1: "TRUNCATE"},                                                 // access/clog.h
	RmgrDatabase:   {0x0: "CREATE_FILE_COPY", 0x1: "CREATE_WAL_LOG", 0x2: "DROP"},                      // commands/dbcommands_xlog.h
	RmgrTablespace: {0x0: "CREATE", 0x1: "DROP"},                                                       // commands/tablespace.h
	RmgrMultiXact:  {0x0: "ZERO_OFF_PAGE", 0x1: "ZERO_MEM_PAGE", 0x2: "CREATE_ID", 0x3: "TRUNCATE_ID"}, // access/multixact.h
	RmgrRelMap:     {0x0: "UPDATE"},                                                                    // utils/relmapper.h
	RmgrStandby:    {0x0: "LOCK", 0x1: "RUNNING_XACTS", 0x2: "INVALIDATIONS"},                          // storage/standbydefs.h
	RmgrHeap2: { // access/heapam_xlog.h
		0x0: "REWRITE", 0x1: "PRUNE_ON_ACCESS", 0x2: "PRUNE_VACUUM_SCAN", 0x3: "PRUNE_VACUUM_CLEANUP",
		0x4: "VISIBLE", 0x5: "MULTI_INSERT", 0x6: "LOCK_UPDATED", 0x7: "NEW_CID",
		0xD: "MULTI_INSERT+INIT",
	},
	RmgrHeap: { // access/heapam_xlog.h
		0x0: "INSERT", 0x1: "DELETE", 0x2: "UPDATE", 0x3: "TRUNCATE",
		0x4: "HOT_UPDATE", 0x5: "HEAP_CONFIRM", 0x6: "LOCK", 0x7: "INPLACE",
		0x8: "INSERT+INIT", 0xA: "UPDATE+INIT", 0xC: "HOT_UPDATE+INIT",
	},
	RmgrBtree: { // access/nbtxlog.h
		0x0: "INSERT_LEAF", 0x1: "INSERT_UPPER", 0x2: "INSERT_META", 0x3: "SPLIT_L",
		0x4: "SPLIT_R", 0x5: "INSERT_POST", 0x6: "DEDUP", 0x7: "DELETE",
		0x8: "UNLINK_PAGE", 0x9: "UNLINK_PAGE_META", 0xA: "NEWROOT", 0xB: "MARK_PAGE_HALFDEAD",
		0xC: "VACUUM", 0xD: "REUSE_PAGE", 0xE: "META_CLEANUP",
	},
	RmgrHash: { // access/hash_xlog.h
		0x0: "INIT_META_PAGE", 0x1: "INIT_BITMAP_PAGE", 0x2: "INSERT", 0x3: "ADD_OVFL_PAGE",
		0x4: "SPLIT_ALLOCATE_PAGE", 0x5: "SPLIT_PAGE", 0x6: "SPLIT_COMPLETE", 0x7: "MOVE_PAGE_CONTENTS",
		0x8: "SQUEEZE_PAGE", 0x9: "DELETE", 0xA: "SPLIT_CLEANUP", 0xB: "UPDATE_META_PAGE",
		0xC: "VACUUM_ONE_PAGE",
	},
	RmgrGin: { // access/ginxlog.h
		0x1: "CREATE_PTREE", 0x2: "INSERT", 0x3: "SPLIT", 0x4: "VACUUM_PAGE",
		0x5: "DELETE_PAGE", 0x6: "UPDATE_META_PAGE", 0x7: "INSERT_LISTPAGE", 0x8: "DELETE_LISTPAGE",
		0x9: "VACUUM_DATA_LEAF_PAGE",
	},
	RmgrGist: { // access/gistxlog.h
		0x0: "PAGE_UPDATE", 0x1: "DELETE", 0x2: "PAGE_REUSE", 0x3: "PAGE_SPLIT",
		0x6: "PAGE_DELETE", 0x7: "ASSIGN_LSN",
	},
	RmgrSequence: {0x0: "LOG"}, // commands/sequence.h
	RmgrSPGist: { // access/spgxlog.h
		0x1: "ADD_LEAF", 0x2: "MOVE_LEAFS", 0x3: "ADD_NODE", 0x4: "SPLIT_TUPLE",
		0x5: "PICKSPLIT", 0x6: "VACUUM_LEAF", 0x7: "VACUUM_ROOT", 0x8: "VACUUM_REDIRECT",
	},
	RmgrBRIN: { // access/brin_xlog.h
		0x0: "CREATE_INDEX", 0x1: "INSERT", 0x2: "UPDATE", 0x3: "SAMEPAGE_UPDATE",
		0x4: "REVMAP_EXTEND", 0x5: "DESUMMARIZE", 0x9: "INSERT+INIT", 0xA: "UPDATE+INIT",
	},
	RmgrCommitTs:          {0x0: "ZEROPAGE", 0x1: "TRUNCATE"}, // access/commit_ts.h
	RmgrReplicationOrigin: {0x0: "SET", 0x1: "DROP"},          // replication/origin.h
	RmgrGeneric: { // access/generic_xlog.h: it does not look at xl_info
		"Generic", "Generic", "Generic", "Generic", "Generic", "Generic", "Generic", "Generic",
		"Generic", "Generic", "Generic", "Generic", "Generic", "Generic", "Generic", "Generic",
	},
	RmgrLogicalMessage: {0x0: "MESSAGE"}, // replication/message.h
}

// formerOperations are what older majors called an operation, up to and
// including the one named; "" is an operation that did not exist.
var formerOperations = [...]struct {
	rmgr  RmgrID
	op    uint8 // xl_info >> 4
	until Version
	name  string
}{
	{RmgrXLOG, 0xE, PG16, ""},
	{RmgrDatabase, 0x0, PG14, "CREATE"},
	{RmgrDatabase, 0x1, PG14, "DROP"},
	{RmgrDatabase, 0x2, PG14, ""},
	{RmgrHeap2, 0x1, PG16, "PRUNE"},
	{RmgrHeap2, 0x2, PG16, "VACUUM"},
	{RmgrHeap2, 0x3, PG16, "FREEZE_PAGE"},
}

// unknownOperations are pg_waldump's words for an operation that the resource
// manager has no name for, in lower-case hexadecimal without its low four bits.
var unknownOperations = [16]string{
	"UNKNOWN (0)", "UNKNOWN (10)", "UNKNOWN (20)", "UNKNOWN (30)",
	"UNKNOWN (40)", "UNKNOWN (50)", "UNKNOWN (60)", "UNKNOWN (70)",
	"UNKNOWN (80)", "UNKNOWN (90)", "UNKNOWN (a0)", "UNKNOWN (b0)",
	"UNKNOWN (c0)", "UNKNOWN (d0)", "UNKNOWN (e0)", "UNKNOWN (f0)",
}

// Operation is what the record does, as pg_waldump of the record's major names
// it: HOT_UPDATE, INSERT+INIT, CHECKPOINT_ONLINE. What the resource manager has
// no name for, and all that an extension's does, is UNKNOWN and xl_info, as in
// "UNKNOWN (f0)". The names are unique only together with the resource manager.
// It allocates nothing.
func (r *Record) Operation() string {
	op := r.Info >> 4
	if r.RmgrID > RmgrMaxBuiltin {
		return unknownOperations[op]
	}
	named := op
	if r.RmgrID == RmgrTransaction {
		named = r.Info & xactOpMask >> 4
	}
	name := operationNames[r.RmgrID][named]
	for i := range formerOperations {
		f := &formerOperations[i]
		if f.rmgr == r.RmgrID && f.op == named && r.Version <= f.until {
			name = f.name
		}
	}
	if name == "" {
		return unknownOperations[op]
	}
	return name
}
