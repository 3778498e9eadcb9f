package pages

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/pagepb"
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/relfile"
)

// DefaultVerifyWait is how long Verify waits for the sink to reach the target.
const DefaultVerifyWait = 60 * time.Second

// VerifyOptions are what Verify is given.
type VerifyOptions struct {
	Client   *pageclient.Client
	DataDir  string        // of a server that is shut down
	Wait     time.Duration // for the sink to reach the target; 0: DefaultVerifyWait
	Progress *Progress     // may be nil
}

// verifier is a verification under way.
type verifier struct {
	VerifyOptions
	control *Control
	dir     *dataDir
	target  pageclient.AsOf
	held    map[Fork]uint32 // blocks that the sink has
	found
}

// Verify compares all pages of a data directory with those of the sink, as of the
// server's shutdown. The report says what differs; an error is why it could not be
// made.
func Verify(ctx context.Context, o VerifyOptions) (*Report, error) {
	if o.Wait == 0 {
		o.Wait = DefaultVerifyWait
	}
	v := &verifier{VerifyOptions: o, held: map[Fork]uint32{}}
	v.kinds, v.left = map[string]*Count{}, map[string]int{}
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	if err := v.list(ctx); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	forks, err := v.choose(ctx)
	if err != nil {
		return nil, err
	}
	v.r.Relations = len(relationsOf(forks))
	for _, f := range forks {
		for first := uint32(0); first == 0 || first < max(v.dir.blocks[f], v.held[f]); first += v.dir.segment {
			group.Go(func() error { return v.compareSegment(ctx, f, first) })
		}
	}
	group.Go(func() error { return v.compareMaps(ctx) })
	group.Go(func() error { return v.compareSLRUs(ctx) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return v.report(), nil
}

// begin finds the target and waits for it.
func (v *verifier) begin(ctx context.Context) (err error) {
	if v.control, err = ReadControl(v.DataDir); err != nil {
		return err
	}
	c := v.control
	if c.State != shutDown {
		return fmt.Errorf("the server of %s is not shut down: its pg_control says that it is %s; stop it (pg_ctl stop) and try again", v.DataDir, c.State)
	}
	st, err := v.Client.Status(ctx)
	if err != nil {
		return err
	}
	if st.SystemIdentifier != 0 && st.SystemIdentifier != c.SystemID {
		return fmt.Errorf("the sink has pages of the cluster with system identifier %d, and %s is of %d", st.SystemIdentifier, v.DataDir, c.SystemID)
	}
	if _, err := v.Client.Wait(ctx, c.CheckPoint, v.Wait); err != nil {
		return fmt.Errorf("the server was shut down at %s: %w", c.CheckPoint, err)
	}
	if st, err = v.Client.Status(ctx); err != nil {
		return err
	}
	if st.SystemIdentifier != c.SystemID {
		return fmt.Errorf("the sink has pages of the cluster with system identifier %d, and %s is of %d", st.SystemIdentifier, v.DataDir, c.SystemID)
	}
	if wal.TimelineID(st.Timeline) != c.Timeline {
		return fmt.Errorf("the sink is on timeline %d, and the server of %s was shut down on timeline %d", st.Timeline, v.DataDir, c.Timeline)
	}
	if st.BaseBackupLsn == 0 {
		v.r.Hint = fmt.Sprintf("The sink began without a base backup, at %s: pages that had no image since cannot be had from it. Set base_backup = true, in an empty directory.", wal.LSN(st.HorizonLsn))
	}
	v.target = pageclient.AsOf{LSN: c.CheckPoint, Wait: v.Wait}
	v.r.LSN, v.r.Timeline, v.r.SystemIdentifier, v.r.DataDirectory = c.CheckPoint, c.Timeline, c.SystemID, v.DataDir
	v.dir, err = readDataDir(ctx, v.DataDir, c)
	return err
}

// list asks the sink for all forks.
func (v *verifier) list(ctx context.Context) error {
	return v.Client.List(ctx, nil, v.target, func(_ wal.LSN, f *pagepb.RelFork) error {
		v.held[Fork{pageclient.Locator(f.Relation), wal.ForkNumber(f.Fork)}] = f.Blocks
		return nil
	})
}

// choose answers the forks that are compared, in the order of their names, and
// notes what is left out.
func (v *verifier) choose(ctx context.Context) ([]Fork, error) {
	all := map[Fork]bool{}
	for f := range v.dir.forks {
		all[f] = true
	}
	for f := range v.held {
		all[f] = true
	}
	var out []Fork
	for f := range all {
		_, inFiles := v.dir.forks[f]
		_, initHeld := v.held[Fork{f.Rel, wal.InitFork}]
		_, held := v.held[f]
		switch {
		case f.Fork == wal.FSMFork:
			v.leave("free space maps, whose changes are not logged")
		case f.Fork != wal.InitFork && (v.dir.unlogged(f.Rel) || initHeld):
			if inFiles {
				v.leave("unlogged relations, but for their init forks")
			}
		case !held && v.notKept(ctx, f):
			v.leave("relations that the sink's settings leave out")
		default:
			out = append(out, f)
			v.Progress.expect(int64(max(v.dir.blocks[f], v.held[f])) * wal.BlockSize)
		}
	}
	for range v.dir.temporary {
		v.leave("temporary relations")
	}
	slices.SortFunc(out, func(a, b Fork) int { return strings.Compare(v.name(a, 0), v.name(b, 0)) })
	return out, ctx.Err()
}

// notKept asks whether a relation that the sink does not list is none of those that
// it stores.
func (v *verifier) notKept(ctx context.Context, f Fork) bool {
	_, err := v.Client.RelExists(ctx, f.Rel, f.Fork, v.target)
	return pageclient.IsNotKept(err)
}

func relationsOf(forks []Fork) map[wal.RelFileLocator]bool {
	out := map[wal.RelFileLocator]bool{}
	for _, f := range forks {
		out[f.Rel] = true
	}
	return out
}

// name is the file that has a block of a fork.
func (v *verifier) name(f Fork, block uint32) string {
	return relfile.Name(f.Rel, f.Fork, block/v.dir.segment, v.control.catalogDir())
}

// compareSegment compares the blocks of one segment of a fork.
func (v *verifier) compareSegment(ctx context.Context, f Fork, first uint32) (err error) {
	inFile, held := v.dir.blocks[f], v.held[f]
	end := min(first+v.dir.segment, max(inFile, held))
	both := max(first, min(end, inFile, held))
	file := v.dir.file(f)
	defer func() { err = errors.Join(err, file.close()) }()
	if both > first {
		if err := v.compareBlocks(ctx, f, file, first, both); err != nil {
			return err
		}
	}
	switch {
	case end > both && both == min(end, held):
		return v.onlyInFile(f, file, both, end)
	case end > both:
		v.Progress.add(int64(end-both) * wal.BlockSize)
		v.differ(v.difference(f, both, "missing", fmt.Sprintf("the file ends before the block, and the relation has %s", count(int(held), "block", "blocks"))), int64(end-both))
	}
	return nil
}

func (v *verifier) difference(f Fork, block uint32, kind, reason string) Difference {
	return Difference{File: v.name(f, block), Relation: f.Rel.String(), Fork: f.Fork.String(), Block: block, Kind: kind, Reason: reason}
}

// compareBlocks compares blocks that both sides should have.
func (v *verifier) compareBlocks(ctx context.Context, f Fork, file *forkFile, first, end uint32) error {
	var theirs []byte
	at := first
	err := v.Client.Range(ctx, pageclient.PageName{Rel: f.Rel, Fork: f.Fork, Block: wal.BlockNumber(first)}, end-first, v.target, func(part *pagepb.GetPagesResponse) error {
		if uint64(len(part.EndLsns)) > uint64(end-at) {
			return fmt.Errorf("the sink has answered more than blocks %d to %d of %s", first, end, f)
		}
		theirs = append(theirs[:0], part.Pages...)
		if err := file.read(at, theirs); err != nil {
			return err
		}
		faults := map[uint32]*pagepb.PageFault{}
		for _, fault := range part.Faults {
			faults[fault.Index] = fault
		}
		for i := range part.EndLsns {
			err := v.compareBlock(ctx, f, at+uint32(i), part.Pages[i*wal.BlockSize:][:wal.BlockSize], theirs[i*wal.BlockSize:][:wal.BlockSize], faults[uint32(i)])
			if err != nil {
				return err
			}
		}
		at += uint32(len(part.EndLsns))
		v.Progress.add(int64(len(part.Pages)))
		return nil
	})
	if err == nil && at != end {
		err = fmt.Errorf("the sink has answered blocks %d to %d of %s only, not up to %d", first, at, f, end)
	}
	return err
}

func (v *verifier) compareBlock(ctx context.Context, f Fork, block uint32, ours, theirs []byte, fault *pagepb.PageFault) error {
	if fault != nil && codes.Code(fault.Code) != codes.NotFound {
		kind := kindName(f.Fork, KindOf(theirs, f.Fork, wal.BlockNumber(block)))
		v.page(kind, 1)
		v.differ(v.difference(f, block, kind, "the sink cannot answer it: "+fault.Reason), 1)
		return nil
	}
	k, reason := comparePage(ours, theirs, f.Fork, wal.BlockNumber(block))
	kind := kindName(f.Fork, k)
	if reason != "" && f.Fork == wal.VisibilityMapFork && fault == nil && within(ours, theirs) {
		lost, err := v.lostBits(ctx, f, block, ours, theirs)
		if err != nil {
			return err
		}
		if lost {
			kind, reason = "vm, in part", ""
		}
	}
	v.page(kind, 1)
	if reason != "" && fault != nil {
		reason = "the sink does not have it: " + fault.Reason
	}
	if reason != "" {
		v.differ(v.difference(f, block, kind, reason), 1)
	}
	return nil
}

// kindName is the kind of a page, with its fork where that is an init fork.
func kindName(fork wal.ForkNumber, k Kind) string {
	if fork == wal.InitFork {
		return "init"
	}
	return k.String()
}

// onlyInFile passes over blocks that were never logged, and notes the others.
func (v *verifier) onlyInFile(f Fork, file *forkFile, first, end uint32) error {
	page := make([]byte, wal.BlockSize)
	for block := first; block < end; block++ {
		if err := file.read(block, page); err != nil {
			return err
		}
		kind := kindName(f.Fork, KindOf(page, f.Fork, wal.BlockNumber(block)))
		v.page(kind, 1)
		if !neverLogged(page, f.Fork) {
			reason := fmt.Sprintf("the relation has %s only", count(int(v.held[f]), "block", "blocks"))
			if _, held := v.held[f]; !held {
				reason = "the sink knows no such fork"
			}
			v.differ(v.difference(f, block, kind, reason), 1)
		}
		v.Progress.add(wal.BlockSize)
	}
	return nil
}

// compareMaps compares the relation maps.
func (v *verifier) compareMaps(ctx context.Context) error {
	for i, m := range v.dir.maps {
		theirs, err := v.dir.readAll(v.dir.mapNames[i])
		if err != nil {
			return err
		}
		v.page(relfile.RelMapName, 1)
		d := Difference{File: v.dir.mapNames[i], Kind: relfile.RelMapName}
		res, err := v.Client.RelMap(ctx, m.Rel.Spc, m.Rel.DB, v.target)
		switch {
		case pageclient.Code(err) == codes.NotFound, pageclient.Code(err) == codes.FailedPrecondition:
			d.Reason = "the sink does not have it: " + err.Error()
		case err != nil:
			return err
		case len(res.GetFile()) != len(theirs):
			d.Reason = fmt.Sprintf("%d bytes in the data directory, %d from the sink", len(theirs), len(res.GetFile()))
		default:
			d.Reason = bytesDiffer(res.GetFile(), theirs)
		}
		if d.Reason != "" {
			v.differ(d, 1)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.r.Compared = append(v.r.Compared, fmt.Sprintf("%s of %s", relfile.RelMapName, count(len(v.dir.maps), "directory", "directories")))
	slices.Sort(v.r.Compared)
	return nil
}

// bytesDiffer says where bytes differ that are no page; "" where they do not.
func bytesDiffer(ours, theirs []byte) string {
	first, n := -1, 0
	for i := range theirs {
		if ours[i] != theirs[i] {
			if n++; first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return ""
	}
	hi := min(first+16, len(theirs))
	return fmt.Sprintf("%s differ, from byte %d on: %x in the data directory, %x from the sink", count(n, "byte", "bytes"), first, theirs[first:hi], ours[first:hi])
}
