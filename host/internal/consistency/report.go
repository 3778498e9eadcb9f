package consistency

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// maxFailures is how many failures of one kind of record a report tells in
// words; all are counted.
const maxFailures = 3

// Kind counts what came of the records of one operation.
type Kind struct {
	Rmgr      wal.RmgrID
	Operation string

	Records  int
	Blocks   int // block references
	Checked  int // pages that were redone and compared
	Restored int // images that redo applies: nothing to compare
	Adopted  int // pages that were not known before: nothing to redo
	Implied  int // changes to pages that the record does not name
	Failed   int // pages that differ, or could not be redone

	Failures []string // the first of them
}

// Report is what came of a check.
type Report struct {
	Version wal.Version
	Kinds   map[string]*Kind // by Rmgr/Operation
}

func newReport() *Report { return &Report{Kinds: map[string]*Kind{}} }

func (r *Report) kind(rec *wal.Record) *Kind {
	r.Version = rec.Version
	name := rec.RmgrID.String() + "/" + rec.Operation()
	k := r.Kinds[name]
	if k == nil {
		k = &Kind{Rmgr: rec.RmgrID, Operation: rec.Operation()}
		r.Kinds[name] = k
	}
	return k
}

func (k *Kind) fail(rec *wal.Record, reason string) {
	k.Failed++
	if k.Failed <= maxFailures {
		k.Failures = append(k.Failures, fmt.Sprintf("%s %s at %s: %s", k.Rmgr, k.Operation, rec.StartLSN, reason))
	}
}

// Checked is how many pages were compared.
func (r *Report) Checked() (n int) {
	for _, k := range r.Kinds {
		n += k.Checked
	}
	return n
}

// Failed is how many pages differ or could not be redone.
func (r *Report) Failed() (n int) {
	for _, k := range r.Kinds {
		n += k.Failed
	}
	return n
}

// withoutPages are operations that change no page of a relation: their records
// refer to none.
var withoutPages = []string{"Heap/TRUNCATE", "Heap2/NEW_CID", "Heap2/REWRITE", "Btree/REUSE_PAGE", "Gist/PAGE_REUSE", "Gist/ASSIGN_LSN"}

// withImages are operations whose records carry images of all their pages, which
// redo applies: there is nothing else to redo.
var withImages = []string{"Hash/SPLIT_PAGE", "Gin/VACUUM_PAGE"}

// neverWritten are operations that no server writes: a new version on its
// predecessor's page never begins that page.
var neverWritten = []string{"Heap/HOT_UPDATE+INIT"}

// pageRmgrs are the resource managers whose records change pages of relations.
var pageRmgrs = []wal.RmgrID{wal.RmgrHeap2, wal.RmgrHeap, wal.RmgrBtree, wal.RmgrHash, wal.RmgrGin, wal.RmgrGist,
	wal.RmgrSequence, wal.RmgrSPGist, wal.RmgrBRIN, wal.RmgrGeneric}

// Unchecked are the operations of the report's major that can change pages and of
// which no page was compared: their redo is not proved.
func (r *Report) Unchecked() []string {
	var names []string
	for _, id := range pageRmgrs {
		for op := range 16 {
			rec := wal.Record{RmgrID: id, Info: uint8(op << 4), Version: r.Version}
			name := id.String() + "/" + rec.Operation()
			if strings.Contains(name, "UNKNOWN") || slices.Contains(names, name) ||
				slices.Contains(withoutPages, name) || slices.Contains(withImages, name) || slices.Contains(neverWritten, name) {
				continue
			}
			if k := r.Kinds[name]; k == nil || k.Checked == 0 {
				names = append(names, name)
			}
		}
	}
	return names
}

// String is a table of the kinds of record that refer to pages, and those that
// were not checked.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d pages compared, %d failed\n", r.Version, r.Checked(), r.Failed())
	fmt.Fprintf(&b, "%-32s %8s %8s %8s %8s %8s %8s %8s\n", "operation", "records", "blocks", "checked", "restored", "adopted", "implied", "failed")
	for _, name := range slices.Sorted(maps.Keys(r.Kinds)) {
		if k := r.Kinds[name]; k.Blocks > 0 || k.Implied > 0 {
			fmt.Fprintf(&b, "%-32s %8d %8d %8d %8d %8d %8d %8d\n", name, k.Records, k.Blocks, k.Checked, k.Restored, k.Adopted, k.Implied, k.Failed)
		}
	}
	fmt.Fprintf(&b, "without pages: %s\n", strings.Join(withoutPages, " "))
	fmt.Fprintf(&b, "with images in any case: %s\n", strings.Join(withImages, " "))
	fmt.Fprintf(&b, "never written: %s\n", strings.Join(neverWritten, " "))
	fmt.Fprintf(&b, "never compared: %s\n", strings.Join(r.Unchecked(), " "))
	return b.String()
}
