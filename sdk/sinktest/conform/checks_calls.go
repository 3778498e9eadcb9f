package conform

import (
	"fmt"
	"os"
	"regexp"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
	"github.com/walplex/walplex/sdk/wire"
)

// typeName is what a sink type can be called in a configuration.
var typeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

func checkDescribe(r *run) error {
	life, err := r.start(StartOptions{})
	if err != nil {
		return err
	}
	ctx, cancel := r.call()
	defer cancel()
	// A newer host has capabilities, and fields, that nobody knows yet.
	req := &wire.DescribeRequest{HostVersion: "v99.0.0", Capabilities: []string{"ring", "of-a-later-version"}}
	req.ProtoReflect().SetUnknown([]byte{0xFA, 0x7F, 1, 'x'}) // field 2047, a string
	again, err := life.Client.Describe(ctx, req)
	if err != nil {
		return violation(RuleIgnore, "Describe with a capability that nobody knows: %s", status.Convert(err).Message())
	}
	d := r.describe
	switch {
	case !proto.Equal(d, again):
		return violation(RuleDescribe, "the second call of Describe answers something else than the first")
	case !typeName.MatchString(d.Type):
		return violation(RuleDescribe, "%q cannot be written as a type: it begins with a letter and goes on with letters, digits, _ and -", d.Type)
	case r.can(wire.CapWAL) == r.can(wire.CapRecords):
		return violation(RuleDescribe, "the capabilities %q hold wal: %t, records: %t; it is one of them", d.Capabilities, r.can(wire.CapWAL), r.can(wire.CapRecords))
	}
	return checkSchema(d.Schema)
}

func checkSchema(s *wire.Schema) error {
	seen := map[string]bool{}
	for _, a := range s.GetAttributes() {
		if seen[a.Name] || a.Name == "" {
			return violation(RuleDescribe, "the schema has the attribute %q twice, or without a name", a.Name)
		}
		if len(a.TypeJson) == 0 {
			return violation(RuleDescribe, "the schema's attribute %q has no type", a.Name)
		}
		seen[a.Name] = true
	}
	for _, b := range s.GetBlocks() {
		if seen[b.Name] || b.Name == "" {
			return violation(RuleDescribe, "the schema has the block %q twice, or without a name", b.Name)
		}
		seen[b.Name] = true
		if err := checkSchema(b.Schema); err != nil {
			return err
		}
	}
	return nil
}

func checkValidate(r *run) error {
	config, err := r.target.Config(r.dir)
	if err != nil {
		return err
	}
	before, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	life, err := r.start(StartOptions{})
	if err != nil {
		return err
	}
	ctx, cancel := r.call()
	defer cancel()
	res, err := life.Client.Validate(ctx, &wire.ValidateRequest{ConfigJson: config})
	if err != nil {
		return fmt.Errorf("Validate: %s", status.Convert(err).Message())
	}
	for _, d := range res.Diagnostics {
		if d.Severity == wire.Diagnostic_ERROR {
			return fmt.Errorf("the sink does not accept its settings: %s: %s", d.Summary, d.Detail)
		}
	}
	after, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	if len(after) != len(before) {
		return violation(RuleValidate, "after Validate there is %s in the directory of the settings", after[0].Name())
	}
	return nil
}

// anotherCluster is a system identifier that no check uses.
const anotherCluster = waltest.DefaultSystemID + 1

func checkCluster(r *run) error {
	w := r.workload(wal.PG16, 64<<10)
	if err := r.finish(w); err != nil {
		return err
	}
	life, err := r.start(StartOptions{})
	if err != nil {
		return err
	}
	foreign := waltest.Random(r.target.Seed, waltest.Options{Version: wal.PG16, SystemID: anotherCluster}, 1000)
	req, err := r.openRequest(foreign, 1)
	if err != nil {
		return err
	}
	ctx, cancel := r.call()
	defer cancel()
	res, err := life.Client.Open(ctx, req)
	if err == nil && (res.IsNew || res.SystemId != w.Options().SystemID) {
		return violation(RuleCluster, "the sink holds WAL of the cluster %d; opened for the cluster %d it says new: %t, cluster %d: it answers what it holds, and the host compares",
			w.Options().SystemID, uint64(anotherCluster), res.IsNew, res.SystemId)
	}
	life.Kill()
	s, err := r.live(w) // it is as it was
	if err != nil {
		return fmt.Errorf("after it was opened for another cluster: %w", err)
	}
	return s.drain()
}

// leakPatience is how long goroutines may take to end.
const leakPatience = 10 * time.Second

func checkLeaks(r *run) error {
	w := r.workload(wal.PG17, 64<<10)
	s, err := r.live(w)
	if err != nil {
		return err
	}
	if s.life.Leaks == nil {
		return &NotApplicable{"the system takes back what a process has"}
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
	if left := s.life.Leaks(min(r.patience(), leakPatience)); len(left) > 0 {
		return violation(RuleLeak, "after Close %d goroutines of the sink run, such as:\n%s", len(left), left[0])
	}
	return nil
}
