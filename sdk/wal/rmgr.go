package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// RM_MIN_CUSTOM_ID (access/rmgr.h, since PG15): the least id that an extension
// can register; RM_MAX_CUSTOM_ID is 255.
const rmgrMinCustom RmgrID = 128

// rmgrNames are the names of access/rmgrlist.h, which pg_waldump prints and
// takes, identical in PG 14–18.
var rmgrNames = [RmgrMaxBuiltin + 1]string{
	RmgrXLOG:              "XLOG",
	RmgrTransaction:       "Transaction",
	RmgrStorage:           "Storage",
	RmgrCLOG:              "CLOG",
	RmgrDatabase:          "Database",
	RmgrTablespace:        "Tablespace",
	RmgrMultiXact:         "MultiXact",
	RmgrRelMap:            "RelMap",
	RmgrStandby:           "Standby",
	RmgrHeap2:             "Heap2",
	RmgrHeap:              "Heap",
	RmgrBtree:             "Btree",
	RmgrHash:              "Hash",
	RmgrGin:               "Gin",
	RmgrGist:              "Gist",
	RmgrSequence:          "Sequence",
	RmgrSPGist:            "SPGist",
	RmgrBRIN:              "BRIN",
	RmgrCommitTs:          "CommitTs",
	RmgrReplicationOrigin: "ReplicationOrigin",
	RmgrGeneric:           "Generic",
	RmgrLogicalMessage:    "LogicalMessage",
}

// Valid reports whether a record of the version can have the id (RmgrIdIsValid
// in access/rmgr.h): a built-in one, or since PG15 one of an extension.
func (id RmgrID) Valid(v Version) bool {
	return id <= RmgrMaxBuiltin || id.Custom() && v >= PG15
}

// Custom reports whether the id is of the range for extensions
// (RmgrIdIsCustom, since PG15).
func (id RmgrID) Custom() bool { return id >= rmgrMinCustom }

// String is the name as pg_waldump prints it: of an extension's resource
// manager custom128 to custom255, since WAL does not hold its real name.
func (id RmgrID) String() string {
	switch {
	case id <= RmgrMaxBuiltin:
		return rmgrNames[id]
	case id.Custom():
		return fmt.Sprintf("custom%03d", uint8(id))
	}
	return fmt.Sprintf("invalid%03d", uint8(id))
}

// ParseRmgrID reads a name as [RmgrID.String] writes it, in any case, as
// pg_waldump --rmgr does.
func ParseRmgrID(name string) (RmgrID, error) {
	for id, n := range rmgrNames {
		if strings.EqualFold(n, name) {
			return RmgrID(id), nil
		}
	}
	if digits, ok := strings.CutPrefix(strings.ToLower(name), "custom"); ok && len(digits) == 3 {
		if n, err := strconv.ParseUint(digits, 10, 8); err == nil && RmgrID(n).Custom() {
			return RmgrID(n), nil
		}
	}
	return 0, fmt.Errorf("%q is not a resource manager: want one of %s, or custom128 to custom255", name, strings.Join(rmgrNames[:], ", "))
}
