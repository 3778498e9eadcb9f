package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// Target is the sink that is checked, and how to get at it.
type Target struct {
	// Start starts it. ctx bounds the start alone.
	Start func(ctx context.Context, o StartOptions) (*Life, error)
	// Process says that Kill ends a process, as kill -9 does. Without it the checks
	// that need that do not apply.
	Process bool
	// Config is the configuration, a JSON object, of a sink whose files may lie in
	// dir. The same dir is the same sink.
	Config func(dir string) ([]byte, error)
	// Holds are the StartLSNs of the records that the closed sink in dir holds, in
	// order; nil: nobody knows.
	Holds func(dir string) ([]wal.LSN, error)
	// PowerLoss has everything forgotten that was not made durable; nil: it cannot
	// be simulated. It is called after Kill.
	PowerLoss func()
	// Patience is how long an answer is waited for; 0 is [DefaultPatience].
	Patience time.Duration
	// Seed decides where kills and the ends of blocks fall.
	Seed uint64
}

// DefaultPatience is how long a sink may take to answer.
const DefaultPatience = time.Minute

// StartOptions of one life.
type StartOptions struct {
	// FileLimit bounds the size in bytes of every file that the process writes, so
	// that writing fails as on a full disk; 0 is no limit. Only for processes.
	FileLimit int
}

// Life is one start of the sink.
type Life struct {
	Client wire.SinkClient
	// Kill ends it at once and waits until it is gone.
	Kill func()
	// Leaks names what it has left behind so long after its end; nil: not known.
	Leaks func(patience time.Duration) []string
}

// NotApplicable is answered by a check that does not concern the sink.
type NotApplicable struct{ Why string }

func (e *NotApplicable) Error() string { return "not applicable: " + e.Why }

// Violation is a rule of the contract that the sink has broken.
type Violation struct {
	Rule string // as in CONTRACT.md
	What string // that was seen
}

func (e *Violation) Error() string { return e.Rule + ": " + e.What }

func violation(rule, format string, args ...any) error {
	return &Violation{rule, fmt.Sprintf(format, args...)}
}

// The rules of the contract, by the headings of CONTRACT.md.
const (
	RuleDescribe  = "describe yourself, without effect"
	RuleValidate  = "Validate touches nothing"
	RuleOpen      = "Open answers the position"
	RuleBackup    = "all of a base backup or none"
	RuleOrder     = "no gap, no repetition"
	RuleSent      = "acknowledge only what was sent"
	RuleForward   = "positions never go back"
	RuleDurable   = "flushed means durable"
	RuleRecordEnd = "a position is a record's end"
	RuleOnce      = "each record once"
	RuleFlush     = "a flush reaches everything written"
	RuleRelease   = "give blocks back"
	RuleAnswer    = "answer in time"
	RuleStop      = "stop when you are told"
	RuleTimeline  = "what lies beyond the switch is taken back"
	RuleFault     = "say why you give up"
	RuleIgnore    = "ignore what you do not know"
	RuleCluster   = "one cluster only"
	RuleRead      = "what is read is what was written"
	RuleLeak      = "leave nothing behind"
)

// Settings makes a Config out of settings that are the same for every check: an
// attribute of format path that is required or has a default, and is not among
// them, is a path in the check's directory.
func Settings(schema *wire.Schema, given map[string]json.RawMessage) func(dir string) ([]byte, error) {
	return func(dir string) ([]byte, error) {
		all := map[string]json.RawMessage{}
		for name, v := range given {
			all[name] = v
		}
		for _, a := range schema.GetAttributes() {
			if v, ok := all[a.Name]; ok && string(v) != "null" {
				continue
			}
			switch {
			case a.Format == "path" && (a.Required || len(a.DefaultJson) > 0):
				v, err := json.Marshal(dir + string(os.PathSeparator) + a.Name)
				if err != nil {
					return nil, err
				}
				all[a.Name] = v
			case a.Required:
				return nil, fmt.Errorf("the setting %q is required: give its value", a.Name)
			case len(a.DefaultJson) > 0:
				all[a.Name] = a.DefaultJson
			default:
				all[a.Name] = json.RawMessage("null")
			}
		}
		return json.Marshal(all)
	}
}
