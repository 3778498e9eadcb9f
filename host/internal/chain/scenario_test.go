package chain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/walplex/walplex/host/internal/chain"
	"github.com/walplex/walplex/sdk/wal"
)

// TestScenarios plays the commented texts in testdata against a chain. Commands:
//
//	new slot=L limits=credit/held   a chain; each line of input is a sink: NAME [required] [records] [applied] [after=NAME]
//	attach NAME at=L [new] [records]   detach NAME   restart at=L   idle   finish
//	block end=L [records=L]         the next block; its size is its length in WAL
//	progress NAME [written=L] [flushed=L] [applied=L] [flush=N] [released=N]
//	aside NAME [source=NAME]        it is served beside the live stream; offer NAME start=L end=L [records=L]
//	leave NAME                      it joins no more; change NAME [required] [after=NAME]; remove NAME
//	status                          feedback and positions
//
// After each, what the chain wants done is printed. -rewrite writes the results.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		p := &player{}
		datadriven.RunTest(t, path, p.play)
	})
}

type player struct {
	c     *chain.Chain
	names []string
}

func (p *player) play(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	switch d.Cmd {
	case "new":
		p.create(t, d)
	case "attach":
		if d.HasArg("records") {
			p.c.Subscribe(p.sink(t, d), true, false)
		}
		p.c.Attach(p.sink(t, d), lsn(t, d, "at"), d.HasArg("new"))
	case "detach":
		p.c.Detach(p.sink(t, d))
	case "restart":
		p.c.Restart(lsn(t, d, "at"))
	case "idle":
		p.c.SetIdle()
	case "finish":
		p.c.Finish()
	case "block":
		end := lsn(t, d, "end")
		b := chain.Block{Start: p.c.Received(), End: end, RecordsEnd: end, Size: int64(end - p.c.Received())}
		if d.HasArg("records") {
			b.RecordsEnd = lsn(t, d, "records")
		}
		if _, err := p.c.Add(b); err != nil {
			return err.Error() + "\n"
		}
	case "progress":
		if err := p.progress(t, d); err != nil {
			return err.Error() + "\n"
		}
	case "aside":
		source := chain.NoSink
		if d.HasArg("source") {
			source = p.named(t, d, "source")
		}
		p.c.Aside(p.sink(t, d), source)
	case "offer":
		b := chain.Block{Start: lsn(t, d, "start"), End: lsn(t, d, "end"), RecordsEnd: lsn(t, d, "end")}
		if d.HasArg("records") {
			b.RecordsEnd = lsn(t, d, "records")
		}
		b.Size = int64(b.End - b.Start)
		if _, err := p.c.Offer(p.sink(t, d), b); err != nil {
			return err.Error() + "\n"
		}
	case "leave":
		p.c.LeaveBehind(p.sink(t, d))
	case "remove":
		p.c.RemoveSink(p.sink(t, d))
	case "change":
		var after []chain.SinkID
		if d.HasArg("after") {
			after = append(after, p.named(t, d, "after"))
		}
		p.c.Change(p.sink(t, d), d.HasArg("required"), after)
	case "status":
		p.status(&out)
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
	p.actions(&out)
	return out.String()
}

func (p *player) create(t *testing.T, d *datadriven.TestData) {
	p.names = nil
	var sinks []chain.Sink
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		s := chain.Sink{Name: f[0]}
		for _, w := range f[1:] {
			name, isAfter := strings.CutPrefix(w, "after=")
			switch {
			case isAfter:
				s.After = append(s.After, chain.SinkID(slices.Index(p.names, name)))
			case w == "required":
				s.Required = true
			case w == "records":
				s.Records = true
			case w == "applied":
				s.Applied = true
			default:
				t.Fatalf("%s: %q", d.Pos, w)
			}
		}
		p.names, sinks = append(p.names, s.Name), append(sinks, s)
	}
	limits := chain.Limits{Credit: 1000, Blocks: 100, Held: 1000}
	if d.HasArg("credit") {
		var n int
		d.ScanArgs(t, "credit", &n)
		limits.Credit = int64(n)
	}
	p.c = chain.New(sinks, 1<<20, d.HasArg("slot"), limits)
	if d.HasArg("slot") {
		p.c.SetRestartLSN(lsn(t, d, "slot"))
	}
}

func (p *player) sink(t *testing.T, d *datadriven.TestData) chain.SinkID {
	id := slices.Index(p.names, d.CmdArgs[0].Key)
	if id < 0 {
		t.Fatalf("%s: no sink %q", d.Pos, d.CmdArgs[0].Key)
	}
	return chain.SinkID(id)
}

// named is the sink that an argument names.
func (p *player) named(t *testing.T, d *datadriven.TestData, key string) chain.SinkID {
	var name string
	d.ScanArgs(t, key, &name)
	id := slices.Index(p.names, name)
	if id < 0 {
		t.Fatalf("%s: no sink %q", d.Pos, name)
	}
	return chain.SinkID(id)
}

func lsn(t *testing.T, d *datadriven.TestData, key string) wal.LSN {
	if !d.HasArg(key) {
		return 0
	}
	var s string
	d.ScanArgs(t, key, &s)
	l, err := wal.ParseLSN(s)
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return l
}

func (p *player) progress(t *testing.T, d *datadriven.TestData) error {
	pr := chain.Progress{Written: lsn(t, d, "written"), Flushed: lsn(t, d, "flushed"), Applied: lsn(t, d, "applied")}
	if d.HasArg("flush") {
		d.ScanArgs(t, "flush", &pr.FlushNumber)
	}
	if d.HasArg("released") {
		d.ScanArgs(t, "released", &pr.ReleasedBlocks)
	}
	return p.c.Progress(p.sink(t, d), pr)
}

func (p *player) actions(out *strings.Builder) {
	for _, a := range p.c.Next(nil) {
		switch a.Kind {
		case chain.Deliver:
			fmt.Fprintf(out, "block %d to %s: WAL from %s, records after %s", a.Block, p.names[a.Sink], a.WALFrom, a.RecordsFrom)
			if a.Begin != 0 {
				fmt.Fprintf(out, ", begun at %s", a.Begin)
			}
			out.WriteString("\n")
		case chain.Flush:
			fmt.Fprintf(out, "flush %d to %s\n", a.Number, p.names[a.Sink])
		case chain.Release:
			fmt.Fprintf(out, "block %d released\n", a.Block)
		case chain.Feed:
			fmt.Fprintf(out, "feed %s up to %s\n", p.names[a.Sink], a.Limit)
		case chain.Live:
			fmt.Fprintf(out, "%s is live\n", p.names[a.Sink])
		}
	}
	if p.c.MustRewind() {
		at, _ := p.c.ResumeLSN()
		fmt.Fprintf(out, "rewind to %s\n", at)
	}
	if p.c.MaySkip() {
		at, _ := p.c.ResumeLSN()
		fmt.Fprintf(out, "skip to %s\n", at)
	}
	if !p.c.CanReceive() {
		out.WriteString("full\n")
	}
	if out.Len() == 0 {
		out.WriteString("nothing\n")
	}
}

func (p *player) status(out *strings.Builder) {
	f := p.c.Feedback()
	fmt.Fprintf(out, "write %s flush %s apply %s\n", f.Write, f.Flush, f.Apply)
	for i, n := range p.names {
		s := p.c.Positions(chain.SinkID(i))
		if !s.Attached {
			fmt.Fprintf(out, "%s: down, flushed %s\n", n, s.Flushed)
			continue
		}
		if s.Aside {
			from, to := p.c.FeedFrom(chain.SinkID(i))
			fmt.Fprintf(out, "%s: aside, served from %s to %s, sent %s, flushed %s\n", n, from, to, s.Sent, s.Flushed)
			continue
		}
		fmt.Fprintf(out, "%s: sent %s written %s flushed %s, in flight %d\n", n, s.Sent, s.Written, s.Flushed, s.InFlight)
	}
	if p.c.AllFlushed() {
		out.WriteString("all is flushed\n")
	}
}
