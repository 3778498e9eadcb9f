package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// checkSinks checks the sinks of one stream against each other.
func (l *loader) checkSinks(s *Stream, refs map[*Sink][]reference) {
	byName := map[string]*Sink{}
	var names []string
	required := false
	for _, sink := range s.Sinks {
		required = required || sink.Required
		if first := byName[sink.Name]; first != nil {
			l.rep.error(sink.NameRange, "sink "+quote(sink.Name)+" is declared twice in stream "+quote(s.Name), "the first is at "+place(first.NameRange))
			continue
		}
		byName[sink.Name] = sink
		names = append(names, sink.Name)
	}
	switch {
	case len(s.Sinks) == 0:
		l.rep.error(s.Range, "stream "+quote(s.Name)+" has no sink", `write sink "TYPE" "NAME" { … } in it`)
	case !required:
		l.rep.error(s.Range, "stream "+quote(s.Name)+" has no required sink",
			"what is confirmed to the server is what required sinks have flushed: leave required = false out of one")
	}
	for _, sink := range s.Sinks {
		for _, ref := range refs[sink] {
			l.checkAfter(sink, ref, byName, names)
		}
	}
	l.checkCycles(s, refs, byName)
}

func (l *loader) checkAfter(sink *Sink, ref reference, byName map[string]*Sink, names []string) {
	target := byName[ref.name]
	switch {
	case target == nil:
		l.rep.error(ref.at, "unknown sink "+quote(ref.name), suggest(ref.name, names))
	case ref.name == sink.Name:
		l.rep.error(ref.at, "sink "+quote(sink.Name)+" comes after itself", "take it out of after")
	case sink.Required && !target.Required:
		l.rep.error(ref.at, "required sink "+quote(sink.Name)+" comes after "+quote(ref.name)+", which is not required",
			"the stream would be held by a sink that is allowed to fall behind: make both required, or neither")
	}
}

// checkCycles reports each circle of sinks once, where it closes.
func (l *loader) checkCycles(s *Stream, refs map[*Sink][]reference, byName map[string]*Sink) {
	const (
		unseen = iota
		onPath
		done
	)
	state := map[*Sink]int{}
	var path []string
	var visit func(sink *Sink)
	visit = func(sink *Sink) {
		state[sink] = onPath
		path = append(path, sink.Name)
		for _, ref := range refs[sink] {
			next := byName[ref.name]
			switch {
			case next == nil || next == sink || next.Name == sink.Name:
			case state[next] == unseen:
				visit(next)
			case state[next] == onPath:
				circle := append(slices.Clone(path[slices.Index(path, next.Name):]), next.Name)
				l.rep.error(ref.at, "sinks wait for each other in a circle", strings.Join(circle, " after "))
			}
		}
		path = path[:len(path)-1]
		state[sink] = done
	}
	for _, sink := range s.Sinks {
		if state[sink] == unseen {
			visit(sink)
		}
	}
}

// checkStreams checks the streams against each other.
func (l *loader) checkStreams() {
	if len(l.config.Streams) == 0 && !l.anyBlock("stream") {
		l.rep.error(l.fileStart(), "no stream", `write stream "NAME" { … }`)
	}
	names := map[string]hcl.Range{}
	type source struct{ dsn, slot string }
	slots := map[source]hcl.Range{}
	for _, s := range l.config.Streams {
		if at, again := names[s.Name]; again {
			l.rep.error(s.Range, "stream "+quote(s.Name)+" is declared twice", "the first is at "+place(at))
		} else {
			names[s.Name] = s.Range
		}
		key := source{strings.TrimSpace(s.Postgres.DSN.Reveal()), s.Postgres.Slot}
		if key.dsn == "" || key.slot == "" {
			continue
		}
		if at, again := slots[key]; again {
			l.rep.error(s.Postgres.SlotRange, "two streams use the same slot of the same dsn",
				"the other is at "+place(at)+"; a slot serves one stream: give each its own")
		} else {
			slots[key] = s.Postgres.SlotRange
		}
	}
}

func (l *loader) anyBlock(kind string) bool {
	for _, f := range l.files {
		for _, b := range f.body.Blocks {
			if b.Type == kind {
				return true
			}
		}
	}
	return false
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }
