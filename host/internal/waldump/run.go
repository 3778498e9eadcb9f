package waldump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/walplex/walplex/sdk/wal"
)

// Program is what the dump is run in.
type Program struct {
	Name    string // before messages, and in the usage
	Version string // printed by --version
	PGData  string // $PGDATA, may be empty
	Stdout  io.Writer
	Stderr  io.Writer
}

// Run runs a command line, without the program's name, and answers the exit
// status: 0, or 1 after an error, of which Stderr has the message. The end of
// ctx is pg_waldump's SIGINT: statistics up to there are printed, and it is no
// error. Memory is bounded by a few MiB of text for each goroutine, and by the
// largest record.
func (p Program) Run(ctx context.Context, args []string) int {
	err := p.run(ctx, args)
	var wrong *badArgument
	var isFatal *fatal
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		p.say("error: ", wrong.message)
		p.say("detail: ", wrong.detail)
		p.hint()
	case errors.As(err, &isFatal):
		kind := "error: "
		if isFatal.marked {
			kind = "fatal: "
		}
		p.say(kind, isFatal.message)
		p.say("detail: ", isFatal.detail)
	default:
		p.say("error: ", err.Error())
	}
	return 1
}

func (p *Program) say(kind, text string) {
	if text != "" {
		fmt.Fprintf(p.Stderr, "%s: %s%s\n", p.Name, kind, text)
	}
}

func (p *Program) hint() {
	p.say("hint: ", fmt.Sprintf("Try \"%s --help\" for more information.", p.Name))
}

func (p *Program) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return bad("no arguments specified")
	}
	switch args[0] {
	case "--help", "-?":
		_, err := fmt.Fprintf(p.Stdout, usage, p.Name)
		return err
	case "--version", "-V":
		_, err := fmt.Fprintf(p.Stdout, "%s (%s to %d) %s\n", p.Name, wal.PG14, wal.PG18, p.Version)
		return err
	}
	o, listed, err := p.parse(args)
	if listed || err != nil {
		return err
	}
	d, err := p.prepare(o)
	if err != nil {
		return err
	}
	err = d.run(ctx)
	var isFatal *fatal
	if errors.As(err, &isFatal) {
		isFatal.marked = d.words.fatal
	}
	return err
}

// parse reads the command line. listed says that it was --rmgr=list, which is
// done.
func (p *Program) parse(args []string) (o options, listed bool, _ error) {
	o = defaults()
	tokens, operands, fault := getopt(args, shortOptions, longOptions())
	words := func() wording { return p.guessWording(tokens, operands) }
	for _, t := range tokens {
		if t.id == 'r' && strings.EqualFold(t.value, "list") {
			for id := wal.RmgrXLOG; id <= wal.RmgrMaxBuiltin; id++ {
				fmt.Fprintln(p.Stdout, id)
			}
			return o, true, nil
		}
		if b := o.set(t, words); b != nil {
			return o, false, b
		}
	}
	if fault != "" {
		p.say("", fault) // getopt's own messages are not marked as errors
		return o, false, &badArgument{}
	}
	o.operands = operands
	if b := o.check(); b != nil {
		return o, false, b
	}
	return o, false, nil
}

// guessWording is that of the WAL that the command line leads to, as far as it
// can be told before all of it was understood.
func (p *Program) guessWording(tokens []token, operands []string) wording {
	o := options{operands: operands}
	for _, t := range tokens {
		if t.id == 'p' {
			o.path = t.value
		}
	}
	found, err := o.locate(p.PGData)
	if err != nil && found.version == 0 {
		return wordingOf(0)
	}
	return wordingOf(found.version)
}

// prepare finds the segments and the range.
func (p *Program) prepare(o options) (*dump, error) {
	if o.saveFullpage != "" && (o.path == "" || openDirectory(o.path) == nil) {
		if err := makeImageDirectory(o.saveFullpage); err != nil {
			return nil, err
		}
	}
	found, err := o.locate(p.PGData)
	if err != nil {
		return nil, err
	}
	if o.start == 0 {
		return nil, bad("no start WAL location given")
	}
	// The segment that is read first tells more than one that lies there too.
	first := found.size.FileName(o.timeline, found.size.SegNo(o.start))
	if p, ok, err := searchDirectory(found.dir, first); ok && err == nil && p.size == found.size {
		found = p
	}
	words := wordingOf(found.version)
	d := &dump{
		options: o,
		src:     source{place: found, timeline: o.timeline, words: words, follow: o.follow, hint: o.mixed},
		words:   words,
		printer: newPrinter(o.details, words.noMethod),
		out:     p.Stdout,
		info:    p.Stderr,
		program: p.Name,
	}
	if o.saveFullpage != "" {
		d.images = &imageSaver{dir: o.saveFullpage}
	}
	return d, nil
}
