package filter

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/walplex/walplex/config"
	"github.com/walplex/walplex/sdk/wal"
)

const (
	// maxFiles bounds the files that are kept of a name: the oldest are forgotten.
	maxFiles = 4096
	// maxMakers bounds the transactions remembered as having made a file.
	maxMakers = 64
)

// Name is a relation as a filter names it, each part as in the catalog.
type Name struct {
	Database string // empty: the connection's
	Schema   string
	Relation string
	At       hcl.Range
}

func (n Name) String() string {
	parts := []string{n.Schema, n.Relation}
	if n.Database != "" {
		parts = []string{n.Database, n.Schema, n.Relation}
	}
	for i, p := range parts {
		if strings.ContainsAny(p, `."`) {
			parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
		}
	}
	return strings.Join(parts, ".")
}

// Names are the relations that a filter names, and the files that they stand
// for, none at first. Match may run beside Add.
type Names struct {
	list  []Name
	files []*nameFiles           // of each name
	added [][]wal.RelFileLocator // in the order of Add; of each name

	stale  chan struct{}
	makers []wal.XID // of files whose commit was not seen yet; Match's alone
}

// List are the names, each once. The index of a name is what Add takes.
func (n *Names) List() []Name { return n.list }

// Add makes the name stand for one more file, and answers whether that is new.
// Files stay: WAL of the past is the same relation's. One goroutine calls it.
func (n *Names) Add(name int, file wal.RelFileLocator) bool {
	added := n.added[name]
	if i := slices.Index(added, file); i >= 0 {
		return false
	}
	if len(added) == maxFiles {
		added = slices.Delete(added, 0, 1)
	}
	n.added[name] = append(added, file)
	sorted := slices.Clone(n.added[name])
	slices.SortFunc(sorted, func(a, b wal.RelFileLocator) int { return int(int64(a.Rel) - int64(b.Rel)) })
	n.files[name].set(sorted)
	return true
}

// Stale tells, once for any number of reasons, that a file was made or that a
// transaction which made one was committed: names may stand for other files now.
// The commit need not be visible yet, and without the second telling it may come
// much later.
func (n *Names) Stale() <-chan struct{} { return n.stale }

// see looks out for Storage's CREATE (catalog/storage_xlog.h:
// XLOG_SMGR_CREATE), and for the commits of its transactions.
func (n *Names) see(rec *wal.Record) {
	switch rec.RmgrID {
	case wal.RmgrStorage:
		if rec.Info>>4 != smgrCreate {
			return
		}
		if rec.XID != 0 && len(n.makers) < maxMakers && !slices.Contains(n.makers, rec.XID) {
			n.makers = append(n.makers, rec.XID)
		}
	case wal.RmgrTransaction:
		if len(n.makers) == 0 {
			return
		}
		i := slices.Index(n.makers, rec.XID)
		if i < 0 || rec.FragmentOffset != 0 {
			return
		}
		switch rec.Info & xactOpMask {
		case xactCommit, xactAbort, xactCommitPrepared, xactAbortPrepared:
			n.makers = slices.Delete(n.makers, i, i+1)
		default:
			return
		}
	default:
		return
	}
	select {
	case n.stale <- struct{}{}:
	default: // it has been told
	}
}

// Operations that see looks at: xl_info's high four bits of Storage
// (catalog/storage_xlog.h), the bits of the mask of Transaction (access/xact.h).
const (
	smgrCreate         = 0x1
	xactOpMask         = 0x70
	xactCommit         = 0x00
	xactAbort          = 0x20
	xactCommitPrepared = 0x30
	xactAbortPrepared  = 0x40
)

// nameFiles are the files of a name.
type nameFiles struct{ known atomic.Pointer[fileSet] }

// fileSet are files, sorted by Rel. Most that are asked for are none of them, which
// mostly shows in a bit for each Rel modulo 64.
type fileSet struct {
	bits uint64
	list []wal.RelFileLocator
}

func (f *nameFiles) set(sorted []wal.RelFileLocator) {
	s := &fileSet{list: sorted}
	for _, file := range sorted {
		s.bits |= 1 << (file.Rel % 64)
	}
	f.known.Store(s)
}

// anyOf reports whether any block is of one of the files.
func (f *nameFiles) anyOf(blocks []wal.BlockRef) bool {
	s := f.known.Load()
	if s == nil {
		return false
	}
	bits := s.bits
	for i := range blocks {
		rel := &blocks[i].Rel
		if bits>>(rel.Rel%64)&1 != 0 && (*rel == s.list[0] || among(s.list, *rel)) {
			return true
		}
	}
	return false
}

// among reports whether a file is one of those, which are sorted by Rel.
func among(files []wal.RelFileLocator, file wal.RelFileLocator) bool {
	i, j := 0, len(files)
	for i < j { // the first of that Rel
		if h := int(uint(i+j) / 2); files[h].Rel < file.Rel {
			i = h + 1
		} else {
			j = h
		}
	}
	for ; i < len(files) && files[i].Rel == file.Rel; i++ {
		if files[i] == file {
			return true
		}
	}
	return false
}

// relationText is a constant that is a relation's name; digits alone are a
// relfilenode.
func relationText(a attribute, n *config.FilterNode) (string, bool) {
	if a.kind != relation || n.Value.Type() != cty.String {
		return "", false
	}
	text := n.Value.AsString()
	digits := text != "" && strings.Trim(text, "0123456789") == ""
	return text, !digits
}

// named compiles that any block is of a named relation.
func (c *compiler) named(n *config.FilterNode, text string) (expr, bool) {
	parts, ok := splitName(text)
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return c.bad(n.Range, shown(n)+" is not a relation's name",
			`write "schema.table" or "db.schema.table"; what has a dot in it goes in double quotes: "public.\"a.b\""`)
	}
	name := Name{Schema: parts[len(parts)-2], Relation: parts[len(parts)-1], At: n.Range}
	if len(parts) == 3 {
		name.Database = parts[0]
	}
	if c.names == nil {
		c.names = &Names{stale: make(chan struct{}, 1)}
	}
	names := c.names
	i := names.index(name)
	files := names.files[i]
	return comparison(func(rec *wal.Record) bool { return files.anyOf(rec.Blocks) }, unknown), true
}

// index finds the name, or appends it. Only the compiler calls it.
func (n *Names) index(name Name) int {
	for i, o := range n.list {
		if o.Database == name.Database && o.Schema == name.Schema && o.Relation == name.Relation {
			return i
		}
	}
	n.list = append(n.list, name)
	n.files = append(n.files, new(nameFiles))
	n.added = make([][]wal.RelFileLocator, len(n.list))
	return len(n.list) - 1
}

// splitName takes a name apart at its dots outside of double quotes, which it
// takes off. ok is false for one that is empty or badly quoted.
func splitName(text string) (parts []string, ok bool) {
	for {
		var part string
		if rest, quoted := strings.CutPrefix(text, `"`); quoted {
			var b strings.Builder
			for {
				before, after, closed := strings.Cut(rest, `"`)
				if !closed {
					return nil, false
				}
				b.WriteString(before)
				if rest, quoted = strings.CutPrefix(after, `"`); !quoted {
					break
				}
				b.WriteByte('"')
			}
			part, text = b.String(), rest
		} else {
			i := strings.IndexAny(text, `."`)
			if i < 0 {
				i = len(text)
			}
			part, text = text[:i], text[i:]
		}
		if part == "" || strings.ContainsRune(part, 0) {
			return nil, false
		}
		parts = append(parts, part)
		if text == "" {
			return parts, true
		}
		if text[0] != '.' {
			return nil, false
		}
		text = text[1:]
	}
}
