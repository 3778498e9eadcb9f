package conform_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/walplex/walplex/sdk/sinktest/conform"
	"github.com/walplex/walplex/sdk/wire"
)

// careless is a sink without an SDK, with a bug that the SDK would not allow.
type careless struct {
	wire.UnimplementedSinkServer
	bug string
}

func (c *careless) Describe(_ context.Context, r *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	d := &wire.DescribeResponse{Type: "careless", Capabilities: []string{wire.CapRecords}}
	if c.backsUp() && c.bug != "backup: undeclared" {
		d.Capabilities = append(d.Capabilities, wire.CapBackup)
	}
	switch {
	case c.bug == "both":
		d.Capabilities = append(d.Capabilities, wire.CapWAL)
	case c.bug == "refuses capabilities" && len(r.Capabilities) > 1:
		return nil, errors.New("what is " + r.Capabilities[1])
	}
	return d, nil
}

func (c *careless) Open(context.Context, *wire.OpenRequest) (*wire.OpenResponse, error) {
	return &wire.OpenResponse{IsNew: true, Subscription: &wire.Subscription{Records: true}, Wishes: &wire.Wishes{BaseBackup: c.backsUp()}}, nil
}

// backsUp are those that wish for a base backup.
func (c *careless) backsUp() bool { return strings.HasPrefix(c.bug, "backup: ") }

func (c *careless) Validate(context.Context, *wire.ValidateRequest) (*wire.ValidateResponse, error) {
	return &wire.ValidateResponse{Wishes: &wire.Wishes{BaseBackup: c.backsUp() && c.bug != "backup: in secret"}}, nil
}

// chunk answers a chunk of a base backup that begins at start.
func (c *careless) chunk(st wire.Sink_StreamServer, p *wire.Progress, k *wire.BackupChunk, start uint64) error {
	if c.bug != "backup: gives nothing back" {
		p.BackupChunks++
	}
	switch c.bug {
	case "backup: gives too much back":
		p.BackupChunks++
	case "backup: position too soon":
		p.WrittenLsn, p.FlushedLsn = start, start
	case "backup: at its end":
		start = k.EndLsn
	}
	if k.EndLsn == 0 && c.bug != "backup: done too soon" {
		return nil
	}
	return st.Send(&wire.SinkMessage{Message: &wire.SinkMessage_BackupDone{BackupDone: &wire.BackupDone{Timeline: 1, Lsn: start}}})
}

func (c *careless) Drain(context.Context, *wire.DrainRequest) (*wire.DrainResponse, error) {
	return &wire.DrainResponse{}, nil
}

func (c *careless) Stream(st wire.Sink_StreamServer) error {
	p, start := &wire.Progress{}, uint64(0)
	for {
		m, err := st.Recv()
		if err != nil {
			return nil
		}
		switch x := m.Message.(type) {
		case *wire.HostMessage_Block:
			if v, err := wire.ParseBlock(x.Block.Data, false); err == nil {
				p.WrittenLsn = uint64(v.RecordsEnd())
			}
			if c.bug != "gives nothing back" {
				p.ReleasedBlocks++
			}
			if c.bug == "gives too much back" {
				p.ReleasedBlocks++
			}
		case *wire.HostMessage_Backup:
			if s := x.Backup.StartLsn; s != 0 {
				start = s
			}
			if err := c.chunk(st, p, x.Backup, start); err != nil {
				return err
			}
		case *wire.HostMessage_Flush:
			p.FlushNumber, p.FlushedLsn = x.Flush.Number, p.WrittenLsn
			if c.bug == "invents flushes" {
				p.FlushNumber++
			}
		case *wire.HostMessage_Heartbeat:
			if c.bug == "no sign of life" {
				continue
			}
			if err := st.Send(&wire.SinkMessage{Message: &wire.SinkMessage_Heartbeat{Heartbeat: x.Heartbeat}}); err != nil {
				return err
			}
			continue
		case *wire.HostMessage_Epoch:
			return st.Send(&wire.SinkMessage{Message: &wire.SinkMessage_Fault{Fault: &wire.Fault{Reason: "what now"}}})
		case nil:
			if c.bug == "minds the unknown" {
				return errors.New("an unknown message")
			}
			continue
		default:
			continue
		}
		if err := st.Send(&wire.SinkMessage{Message: &wire.SinkMessage_Progress{Progress: p}}); err != nil {
			return err
		}
	}
}

func target(t *testing.T, bug string) conform.Target {
	t.Helper()
	return conform.Target{Seed: 1, Patience: 2 * time.Second, Config: conform.Settings(nil, nil),
		Start: func(context.Context, conform.StartOptions) (*conform.Life, error) {
			l := bufconn.Listen(1 << 20)
			s := grpc.NewServer(wire.ServerOptions()...)
			wire.RegisterSinkServer(s, &careless{bug: bug})
			go func() { _ = s.Serve(l) }()
			conn, err := grpc.NewClient("passthrough:sink", append(wire.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))...)
			if err != nil {
				return nil, err
			}
			return &conform.Life{Client: wire.NewSinkClient(conn), Kill: s.Stop}, nil
		}}
}

func TestCarelessSinks(t *testing.T) {
	for _, c := range []struct{ bug, check, rule, text string }{
		{"", "gap", conform.RuleOrder, "a block behind a gap was taken"},
		{"", "garbage", conform.RuleOrder, "a block of random bytes was taken"},
		{"", "timeline", conform.RuleTimeline, "that is a permanent fault"},
		{"", "cluster", conform.RuleFlush, "Drain answers 0/0"},
		{"gives nothing back", "credit", conform.RuleAnswer, "that blocks are given back did not happen"},
		{"gives too much back", "credit", conform.RuleRelease, "that it was sent"},
		{"invents flushes", "progress", conform.RuleFlush, "answers flush 2 after 0, of 1"},
		{"no sign of life", "heartbeat", conform.RuleAnswer, "the answer to heartbeat 1 did not happen"},
		{"minds the unknown", "newer host", conform.RuleIgnore, "an unknown message"},
		{"backup: undeclared", "base backup", conform.RuleBackup, "has not declared the capability"},
		{"backup: in secret", "base backup", conform.RuleBackup, "Validate tells: false"},
		{"backup: done too soon", "base backup", conform.RuleBackup, "whose end did not come"},
		{"backup: position too soon", "base backup", conform.RuleSent, "but was sent WAL up to 0/0"},
		{"backup: gives nothing back", "base backup", conform.RuleAnswer, "that all chunks of the base backup are taken did not happen"},
		{"backup: gives too much back", "base backup", conform.RuleRelease, "chunks of a base backup"},
		{"backup: at its end", "base backup", conform.RuleBackup, "it begins at"},
		{"both", "describe", conform.RuleDescribe, "it is one of them"},
		{"refuses capabilities", "describe", conform.RuleIgnore, "of-a-later-version"},
	} {
		t.Run(c.check+"/"+c.bug, func(t *testing.T) {
			t.Parallel()
			for _, check := range conform.Checks() {
				if check.Name != c.check {
					continue
				}
				err := check.Run(t.Context(), target(t, c.bug), t.TempDir())
				var v *conform.Violation
				if !errors.As(err, &v) || v.Rule != c.rule || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v\nwant the rule %q: %s", err, c.rule, c.text)
				}
			}
		})
	}
}

// Every rule has its heading in CONTRACT.md.
func TestRulesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/CONTRACT.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "target.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Rule") {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		rules++
		rule, err := strconv.Unquote(lit.Value)
		if err != nil || !strings.Contains(string(page), "\n## "+rule+"\n") {
			t.Errorf("CONTRACT.md has no heading %q", rule)
		}
		return true
	})
	if rules < 15 {
		t.Errorf("%d rules", rules)
	}
}
