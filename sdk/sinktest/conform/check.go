package conform

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// Check is one situation that a sink is put into.
type Check struct {
	Name string
	What string // it shows, a clause
	run  func(r *run) error
}

// Checks are all that there are, in the order in which they make sense to a reader.
func Checks() []Check {
	return []Check{
		{"describe", "the sink says what it is, and ignores what it does not know", checkDescribe},
		{"validate", "the settings are accepted, and checking them has no effect", checkValidate},
		{"deliver", "WAL of PostgreSQL 14 to 18 is taken, flushed, and continued after a restart", checkDeliver},
		{"progress", "positions grow, and stay within what was sent", checkProgress},
		{"base backup", "a new sink takes a base backup whole, or begins again with another", checkBackup},
		{"large records", "records of more than 1 MiB come in fragments and are whole to the position", checkLarge},
		{"credit", "blocks are given back without being asked for", checkCredit},
		{"heartbeat", "signs of life are given while blocks come", checkHeartbeat},
		{"newer host", "what a newer host says is ignored", checkNewerHost},
		{"gap", "a gap is not taken", checkGap},
		{"garbage", "a block that is none is not taken", checkGarbage},
		{"cluster", "WAL of another cluster is not mixed with what is there", checkCluster},
		{"cancel", "the sink stops what it does when the host goes away", checkCancel},
		{"drain", "the sink ends in order, and holds everything afterwards", checkDrain},
		{"leaks", "nothing is left behind", checkLeaks},
		{"timeline", "a switch of timelines is followed, or refused for good", checkTimeline},
		{"read", "WAL that is kept is given back", checkRead},
		{"kill", "nothing is lost or doubled by kill -9 at any point", checkKill},
		{"power loss", "nothing that was flushed is lost with what was not synced", checkPowerLoss},
		{"full disk", "a full disk loses nothing that was flushed", checkFullDisk},
	}
}

// Run runs the check with the sink's files below dir, which exists and is empty.
// The error is nil, [NotApplicable], a [Violation], or what kept it from running.
func (c Check) Run(ctx context.Context, t Target, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{ctx: ctx, target: t, base: dir}
	defer r.end()
	defer cancel() // a stream that runs would be in the way of an end in order
	if err := r.fresh(); err != nil {
		return err
	}
	if err := r.learn(); err != nil {
		return err
	}
	return c.run(r)
}

// run is one run of one check.
type run struct {
	ctx      context.Context
	target   Target
	base     string
	dir      string // of the sink
	dirs     int
	describe *wire.DescribeResponse
	raw      bool   // it takes raw WAL
	mask     []byte // of resource managers, as it subscribed
	lives    int
	alive    []*Life

	// Of the sink in dir:
	timeline  wal.TimelineID // of the WAL that it was given
	switchLSN wal.LSN        // where that timeline began
	flushed   wal.LSN        // the furthest that it has called durable
	sent      wal.LSN        // the furthest that it was sent
}

// fresh makes the next sink another one.
func (r *run) fresh() error {
	r.dirs++
	r.dir = fmt.Sprintf("%s%c%d", r.base, os.PathSeparator, r.dirs)
	r.timeline, r.switchLSN, r.flushed, r.sent = 1, 0, 0, 0
	return os.MkdirAll(r.dir, 0o755)
}

// learn asks what the sink is.
func (r *run) learn() error {
	life, err := r.start(StartOptions{})
	if err != nil {
		return err
	}
	defer life.Kill()
	ctx, cancel := r.call()
	defer cancel()
	d, err := life.Client.Describe(ctx, &wire.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("Describe: %s", status.Convert(err).Message())
	}
	r.describe = d
	r.raw = r.can(wire.CapWAL)
	return nil
}

func (r *run) can(capability string) bool {
	return slices.Contains(r.describe.GetCapabilities(), capability)
}

func (r *run) start(o StartOptions) (*Life, error) {
	r.lives++
	life, err := r.target.Start(r.ctx, o)
	if err == nil {
		r.alive = append(r.alive, life)
	}
	return life, err
}

// end kills what still lives.
func (r *run) end() {
	for _, l := range r.alive {
		l.Kill()
	}
}

func (r *run) patience() time.Duration {
	if r.target.Patience > 0 {
		return r.target.Patience
	}
	return DefaultPatience
}

// live starts and opens the sink, and begins its Stream.
func (r *run) live(w *waltest.Writer) (*session, error) {
	return r.liveAs(w, StartOptions{})
}

func (r *run) liveAs(w *waltest.Writer, o StartOptions) (*session, error) {
	s, err := r.open(w, r.timeline, o)
	if err != nil {
		return nil, err
	}
	if err := s.begins(); err != nil {
		s.kill() // its directory is the next one's
		return nil, err
	}
	return s, nil
}

// finish delivers everything, ends the sink in order, and looks at what it holds.
func (r *run) finish(w *waltest.Writer) error {
	s, err := r.live(w)
	if err != nil {
		return err
	}
	if err := s.deliver(w.End()); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.drain(); err != nil {
		return err
	}
	return r.holds(w)
}

// holds compares what the closed sink holds with all of the WAL.
func (r *run) holds(w *waltest.Writer) error {
	if r.can(wire.CapRead) && r.raw {
		if err := r.reads(w); err != nil {
			return err
		}
	}
	if r.target.Holds == nil || r.raw {
		return nil
	}
	got, err := r.target.Holds(r.dir)
	if err != nil {
		return err
	}
	var want []wal.LSN
	for _, a := range w.Records()[3:] {
		if r.wants(wal.RmgrID(a.Raw[17])) { // xl_rmid of XLogRecord
			want = append(want, a.Start)
		}
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i < len(got) && i > 0 && got[i] == got[i-1]:
			return violation(RuleOnce, "the record at %s is there twice", got[i])
		case i == len(got) || i < len(want) && got[i] > want[i]:
			return violation(RuleOnce, "the record at %s is missing; %d of %d records are there", want[i], len(got), len(want))
		case i == len(want) || got[i] < want[i]:
			return violation(RuleOnce, "the record at %s is there once more, or should not be there; %d records are there, not %d", got[i], len(got), len(want))
		}
	}
	return nil
}

// wants reports whether the sink subscribed to the resource manager's records.
func (r *run) wants(id wal.RmgrID) bool {
	return len(r.mask) == 0 || r.mask[id/8]&(1<<(id%8)) != 0
}

// workload is WAL of the version with everything that it can hold.
func (r *run) workload(v wal.Version, n int) *waltest.Writer {
	return waltest.Random(r.target.Seed+uint64(v), waltest.Options{Version: v}, n)
}
