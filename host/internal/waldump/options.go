package waldump

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// Ids of the options that have no letter.
const (
	optSaveFullpage rune = iota + 1
	optJSON
	optJobs
)

// shortOptions has no V and no ?: those count as the first argument only.
const shortOptions = "bB:e:fF:n:p:qr:R:s:t:wx:z"

func longOptions() []longOption {
	return []longOption{
		{"bkp-details", noArgument, 'b'},
		{"block", requiredArgument, 'B'},
		{"end", requiredArgument, 'e'},
		{"follow", noArgument, 'f'},
		{"fork", requiredArgument, 'F'},
		{"fullpage", noArgument, 'w'},
		{"help", noArgument, '?'},
		{"limit", requiredArgument, 'n'},
		{"path", requiredArgument, 'p'},
		{"quiet", noArgument, 'q'},
		{"relation", requiredArgument, 'R'},
		{"rmgr", requiredArgument, 'r'},
		{"start", requiredArgument, 's'},
		{"timeline", requiredArgument, 't'},
		{"xid", requiredArgument, 'x'},
		{"version", noArgument, 'V'},
		{"stats", optionalArgument, 'z'},
		{"save-fullpage", requiredArgument, optSaveFullpage},
		{"json", noArgument, optJSON},
		{"jobs", requiredArgument, optJobs},
	}
}

// options are what the command line says, as XLogDumpConfig and
// XLogDumpPrivate have it.
type options struct {
	quiet, details, follow, json bool
	stats, statsPerRecord        bool
	limit                        int // records, 0 or less for all
	jobs                         int // goroutines

	filter filter

	path         string // -p, "" without
	saveFullpage string // "" without
	timeline     wal.TimelineID
	start, end   wal.LSN // 0 without
	mixed        string  // what is to say where STARTSEG and ENDSEG are of two timelines

	operands []string
}

// maxJobs bounds --jobs: beyond it memory, not the CPUs, is what is short.
const maxJobs = 64

func defaults() options {
	return options{limit: -1, timeline: 1, jobs: min(runtime.GOMAXPROCS(0), maxJobs)}
}

// badArgument is an option that cannot be; detail may be empty.
type badArgument struct{ message, detail string }

func bad(format string, args ...any) *badArgument {
	return &badArgument{message: fmt.Sprintf(format, args...)}
}

// set applies one option. words are those of the version's pg_waldump.
func (o *options) set(t token, words func() wording) *badArgument {
	switch t.id {
	case 'b':
		o.details = true
	case 'f':
		o.follow = true
	case 'q':
		o.quiet = true
	case 'w':
		o.filter.fullPage = true
	case 'p':
		o.path = t.value
	case optSaveFullpage:
		o.saveFullpage = t.value
	case optJSON:
		o.json = true
	case optJobs:
		n, err := strconv.Atoi(t.value)
		if err != nil || n < 1 || n > maxJobs {
			return bad("invalid value %q for option --jobs: want 1 to %d", t.value, maxJobs)
		}
		o.jobs = n
	case 'z':
		return o.setStats(t)
	case 't':
		return o.setTimeline(t.value, words)
	case 's', 'e':
		lsn, ok := scanLSN(t.value)
		if !ok {
			return bad("invalid WAL location: \"%s\"", t.value)
		}
		if t.id == 's' {
			o.start = lsn
		} else {
			o.end = lsn
		}
	case 'n':
		n, ok := scanNumber(t.value)
		if !ok {
			return bad("invalid value \"%s\" for option %s", t.value, "-n/--limit")
		}
		o.limit = int(int32(n))
	case 'V', '?':
		return &badArgument{} // a hint is all that pg_waldump says
	default:
		return o.filter.set(t)
	}
	return nil
}

func (o *options) setStats(t token) *badArgument {
	o.stats, o.statsPerRecord = true, t.value == "record"
	if t.given && t.value != "record" && t.value != "rmgr" {
		return bad("unrecognized value for option %s: %s", "--stats", t.value)
	}
	return nil
}

// setTimeline reads a number as C's strtoul does: octal and hexadecimal too.
func (o *options) setTimeline(s string, words func() wording) *badArgument {
	text := strings.Trim(s, spaces)
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 0, 64)
	switch {
	case err != nil && strings.Contains(err.Error(), "range"), err == nil && (n < 1 || n > math.MaxUint32):
		if words().rangedTimeline {
			return bad("%s must be in range %d..%d", "-t/--timeline", 1, uint32(math.MaxUint32))
		}
	case err == nil && !strings.Contains(text, "_"):
		o.timeline = wal.TimelineID(n)
		return nil
	}
	if words().rangedTimeline {
		return bad("invalid value \"%s\" for option %s", s, "-t/--timeline")
	}
	return bad("invalid timeline specification: \"%s\"", s)
}

// set applies an option that filters.
func (f *filter) set(t token) *badArgument {
	switch t.id {
	case 'B':
		n, ok := scanNumber(t.value)
		if !ok || n == invalidBlock {
			return bad("invalid block number: \"%s\"", t.value)
		}
		f.block, f.byBlock = wal.BlockNumber(n), true
	case 'F':
		fork, ok := forkNamed(t.value)
		if !ok {
			return bad("invalid fork name: \"%s\"", t.value)
		}
		f.fork, f.byFork = fork, true
	case 'R':
		rel, ok := scanRelation(t.value)
		if !ok || rel.Spc == 0 || rel.Rel == 0 {
			b := bad("invalid relation specification: \"%s\"", t.value)
			b.detail = `Expecting "tablespace OID/database OID/relation filenode".`
			return b
		}
		f.rel, f.byRel = rel, true
	case 'x':
		n, ok := scanNumber(t.value)
		if !ok {
			return bad("invalid transaction ID specification: \"%s\"", t.value)
		}
		f.xid, f.byXID = wal.XID(n), true
	case 'r':
		return f.setRmgr(t.value)
	}
	return nil
}

func (f *filter) setRmgr(name string) *badArgument {
	// The number is read as sscanf's "custom%03d" reads it.
	if number, ok := strings.CutPrefix(name, "custom"); ok {
		sc := digits{rest: number}
		if n := sc.number(10, 3); !sc.bad {
			if n > math.MaxUint8 || !wal.RmgrID(n).Custom() {
				return bad("custom resource manager \"%s\" does not exist", name)
			}
			f.rmgrs[n], f.byRmgr = true, true
			return nil
		}
	}
	id, err := wal.ParseRmgrID(name)
	if err != nil || id.Custom() {
		return bad("resource manager \"%s\" does not exist", name)
	}
	f.rmgrs[id], f.byRmgr = true, true
	return nil
}

// check looks at what options say together.
func (o *options) check() *badArgument {
	if o.filter.byBlock && !o.filter.byRel {
		return bad("option %s requires option %s to be specified", "-B/--block", "-R/--relation")
	}
	if len(o.operands) > 2 {
		return bad("too many command-line arguments (first is \"%s\")", o.operands[2])
	}
	return nil
}
