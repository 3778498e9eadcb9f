package sinktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/durable/crashfs"
	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wal"
)

// Option changes what [Run] does.
type Option func(*suite)

// suite is what the options make.
type suite struct {
	config   map[string]any
	holds    func(fsys durable.FS, dir string) ([]wal.LSN, error)
	withFS   func(durable.FS) *sdk.Definition
	patience time.Duration
	seed     uint64
	only     []string
}

// Config gives the sink these settings. A setting of format path that is required
// or has a default is a path in a directory of each check's own, unless it is
// given here.
func Config(settings map[string]any) Option { return func(s *suite) { s.config = settings } }

// Holds tells what the closed sink, whose files lie in dir of fsys, holds: the
// StartLSNs of its records, in order. With it the suite finds records that were lost or
// doubled while the position was right; leave it out for a sink that takes a
// record twice after a crash by design.
func Holds(f func(fsys durable.FS, dir string) ([]wal.LSN, error)) Option {
	return func(s *suite) { s.holds = f }
}

// WithFS makes the sink over a file system of the test's, which forgets what was
// not made durable: only so can be seen whether a Flush syncs what it has to.
func WithFS(f func(durable.FS) *sdk.Definition) Option { return func(s *suite) { s.withFS = f } }

// Patience is how long the sink may take for any answer; a minute without it.
func Patience(d time.Duration) Option { return func(s *suite) { s.patience = d } }

// Seed chooses other WAL, other ends of blocks and other points for kills.
func Seed(n uint64) Option { return func(s *suite) { s.seed = n } }

// Only runs these checks, by their names.
func Only(names ...string) Option { return func(s *suite) { s.only = names } }

// Run holds the sink to the delivery contract: see package conform for what is
// checked. It runs every check with the sink in the test's own process, and again
// in one of its own, which is the test's program started once more: what the test
// does before it calls Run, that process does too.
//
//	func TestContract(t *testing.T) { sinktest.Run(t, Definition) }
func Run(t *testing.T, def func() *sdk.Definition, options ...Option) {
	t.Helper()
	report(t, results(t, def, options...))
}

// result is what became of one check.
type result struct {
	form, check, what string
	err               error
}

func report(t *testing.T, list []result) {
	t.Helper()
	for _, r := range list {
		t.Run(r.form+"/"+r.check, func(t *testing.T) {
			var none *conform.NotApplicable
			switch {
			case errors.As(r.err, &none):
				t.Log(none)
			case r.err != nil:
				t.Errorf("%s: %v", r.what, r.err)
			}
		})
	}
}

// results runs the checks in both forms.
func results(t *testing.T, def func() *sdk.Definition, options ...Option) []result {
	t.Helper()
	serveIfAsked(t.Name(), def)
	s := suite{seed: 1}
	for _, o := range options {
		o(&s)
	}
	schema, err := def().Schema()
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]json.RawMessage{}
	for name, v := range s.config {
		if given[name], err = json.Marshal(v); err != nil {
			t.Fatalf("setting %q: %v", name, err)
		}
	}
	common := conform.Target{Config: conform.Settings(schema, given), Patience: s.patience, Seed: s.seed}

	if s.holds != nil {
		common.Holds = func(dir string) ([]wal.LSN, error) { return s.holds(durable.OS{}, dir) }
	}

	inside := common
	inside.Start = (&inProcess{def: def}).start
	list := s.form(t, "in-process", inside)

	outside := common
	output := &tail{}
	outside.Start, outside.Process = (&process{test: t.Name(), log: output}).start, true
	list = append(list, s.form(t, "process", outside)...)

	if s.withFS != nil {
		power := common
		disk := crashfs.New()
		rnd := rand.New(rand.NewPCG(s.seed, 0))
		power.Start = (&inProcess{def: func() *sdk.Definition { return s.withFS(disk) }, abandons: true}).start
		power.PowerLoss = func() { disk = disk.Crash(rnd) }
		if s.holds != nil {
			power.Holds = func(dir string) ([]wal.LSN, error) { return s.holds(disk, dir) }
		}
		s.only = []string{"power loss"}
		list = append(list, s.form(t, "file system", power)...)
	}
	return list
}

// form runs the checks against one target.
func (s *suite) form(t *testing.T, name string, target conform.Target) (out []result) {
	t.Helper()
	for _, c := range conform.Checks() {
		if len(s.only) > 0 && !slices.Contains(s.only, c.Name) {
			continue
		}
		dir, err := os.MkdirTemp("", "sink") // short, since Unix sockets may lie in it
		if err != nil {
			t.Fatal(err)
		}
		err = c.Run(t.Context(), target, dir)
		if rm := os.RemoveAll(dir); err == nil && rm != nil {
			err = fmt.Errorf("the sink's files cannot be removed: %w", rm)
		}
		out = append(out, result{form: name, check: c.Name, what: c.What, err: err})
	}
	return out
}
