package pages

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// slruRange is an SLRU and which of its entries are compared: from first up to,
// and without, next; ids wrap around.
type slruRange struct {
	file        relfile.Kind
	slru        pagepb.SLRU
	name        string // of the directory
	what        string // of the entries
	perPage     uint32
	first, next uint32
	clear       func(page []byte, entry uint32) // takes an entry out of a page
}

// String says what is compared.
func (r *slruRange) String() string {
	if r.first == r.next {
		return fmt.Sprintf("%s, which has no %s", r.name, r.what)
	}
	return fmt.Sprintf("%s, %s %d up to, and without, %d", r.name, r.what, r.first, r.next)
}

// Entries of pages (access/clog.h, multixact.h, commit_ts.c).
const (
	xactsPerPage   = wal.BlockSize * 4
	offsetsPerPage = wal.BlockSize / 4
	membersInGroup = 4
	memberGroup    = 4 + 4*membersInGroup // bytes: flags, then ids
	membersPerPage = wal.BlockSize / memberGroup * membersInGroup
	commitEntry    = 8 + 2
	commitsPerPage = wal.BlockSize / commitEntry
)

func clearXact(p []byte, n uint32)   { p[n/4] &^= 3 << (n % 4 * 2) }
func clearOffset(p []byte, n uint32) { clear(p[n*4:][:4]) }
func clearMember(p []byte, n uint32) {
	group := n / membersInGroup * memberGroup
	p[group+n%membersInGroup] = 0
	clear(p[group+4+n%membersInGroup*4:][:4])
}
func clearCommit(p []byte, n uint32) { clear(p[n*commitEntry:][:commitEntry]) }

// ranges are what pg_control says of the SLRUs.
func (v *verifier) ranges() ([]slruRange, error) {
	c := v.control
	member, err := v.firstMember()
	if err != nil {
		return nil, err
	}
	out := []slruRange{
		{relfile.Xact, pagepb.SLRU_SLRU_XACT, "pg_xact", "transactions", xactsPerPage, c.OldestXID, c.NextXID, clearXact},
		{relfile.MultiXactOffsets, pagepb.SLRU_SLRU_MULTIXACT_OFFSETS, "pg_multixact/offsets", "multixacts", offsetsPerPage, c.OldestMulti, c.NextMulti, clearOffset},
		{relfile.MultiXactMembers, pagepb.SLRU_SLRU_MULTIXACT_MEMBERS, "pg_multixact/members", "members", membersPerPage, member, c.NextMember, clearMember},
	}
	if c.OldestCommitTs != 0 {
		out = append(out, slruRange{relfile.CommitTs, pagepb.SLRU_SLRU_COMMIT_TS, "pg_commit_ts", "transactions", commitsPerPage, c.OldestCommitTs, c.NewestCommitTs + 1, clearCommit})
	}
	return out, nil
}

// firstMember is where the members of the oldest multixact begin.
func (v *verifier) firstMember() (uint32, error) {
	c := v.control
	if c.OldestMulti == c.NextMulti {
		return c.NextMember, nil
	}
	page, err := v.dir.slruPage(relfile.MultiXactOffsets, c.OldestMulti/offsetsPerPage)
	if err != nil || page == nil {
		return c.NextMember, err
	}
	return le.Uint32(page[c.OldestMulti%offsetsPerPage*4:]), nil
}

func (v *verifier) compareSLRUs(ctx context.Context) error {
	ranges, err := v.ranges()
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := v.compareSLRU(ctx, r); err != nil {
			return err
		}
		v.mu.Lock()
		v.r.Compared = append(v.r.Compared, r.String())
		slices.Sort(v.r.Compared)
		v.mu.Unlock()
	}
	return nil
}

// compareSLRU compares the pages that have entries of the range.
func (v *verifier) compareSLRU(ctx context.Context, r slruRange) error {
	if r.first == r.next {
		return nil
	}
	lastPage := uint32((uint64(1)<<32 - 1) / uint64(r.perPage))
	end := (r.next - 1) / r.perPage
	for page := r.first / r.perPage; ; page = (page + 1) % (lastPage + 1) {
		if err := v.compareSLRUPage(ctx, r, page); err != nil {
			return err
		}
		if page == end {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (v *verifier) compareSLRUPage(ctx context.Context, r slruRange, page uint32) error {
	theirs, err := v.dir.slruPage(r.file, page)
	if err != nil {
		return err
	}
	d := Difference{File: fmt.Sprintf("%s/%04X", r.name, page/relfile.SLRUPages), Block: page, Kind: r.name}
	v.page(r.name, 1)
	res, err := v.Client.SLRUPage(ctx, r.slru, page, v.target)
	ours := res.GetImage().GetPage()
	missing := ""
	switch code := pageclient.Code(err); {
	case code == codes.NotFound, code == codes.FailedPrecondition, code == codes.DataLoss:
		missing, ours = "the sink does not have it: "+err.Error(), make([]byte, wal.BlockSize)
	case err != nil:
		return err
	case len(ours) != wal.BlockSize:
		return fmt.Errorf("the sink has answered %d bytes for page %d of %s", len(ours), page, r.name)
	}
	if theirs == nil {
		if allZero(ours) {
			return nil
		}
		d.Reason = "the data directory does not have it"
		v.differ(d, 1)
		return nil
	}
	// Entries that nobody has used yet may be anything.
	if page == (r.next-1)/r.perPage {
		for n := (r.next-1)%r.perPage + 1; n < r.perPage; n++ {
			r.clear(ours, n)
			r.clear(theirs, n)
		}
	}
	if d.Reason = bytesDiffer(ours, theirs); d.Reason != "" {
		if missing != "" {
			d.Reason = missing
		}
		v.differ(d, 1)
	}
	return nil
}

// slruPage reads a page, nil where there is none.
func (d *dataDir) slruPage(kind relfile.Kind, page uint32) ([]byte, error) {
	name, ok := d.slru[kind][page/relfile.SLRUPages]
	if !ok {
		return nil, nil
	}
	b, err := d.readAll(name)
	if err != nil {
		return nil, err
	}
	at := int(page%relfile.SLRUPages) * wal.BlockSize
	if at+wal.BlockSize > len(b) {
		return nil, nil
	}
	return b[at:][:wal.BlockSize], nil
}

// readAll reads a small file.
func (d *dataDir) readAll(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.root, filepath.FromSlash(name)))
}
