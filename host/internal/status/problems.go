package status

import (
	"fmt"

	"github.com/walplex/walplex/host/internal/primary"
	"github.com/walplex/walplex/host/internal/stream"
)

// problems are the reasons for which somebody should look.
func (r *Report) problems() []Problem {
	out := []Problem{}
	for i := range r.Streams {
		s := &r.Streams[i]
		add := func(sink, text, reason string) {
			out = append(out, Problem{Stream: s.Name, Sink: sink, Text: because(text, reason)})
		}
		switch {
		case s.Gap:
			add("", "WAL that is needed is gone", s.Error)
		case s.State == stream.Failed:
			add("", "the stream has failed", s.Error)
		case s.State == stream.Reconnecting:
			add("", "the stream is interrupted and tries again", s.Error)
		}
		for _, k := range s.Sinks {
			switch {
			case !k.Required:
			case k.State == stream.SinkDown:
				add(k.Name, "the required sink is down and is started again", k.Error)
			case k.State == stream.SinkCrashLoop:
				add(k.Name, "the required sink dies again and again without getting any further", k.Error)
			case k.State == stream.SinkOff:
				add(k.Name, "the required sink is off until somebody acts", k.Error)
			}
		}
		if p := s.Primary; p != nil && (p.Level == primary.Warning || p.Level == primary.Critical) {
			add("", fmt.Sprintf("slot %s is at level %s, it holds %s", p.Slot, p.Level, Bytes(p.HeldBytes)), join(p.Why, p.Remedy))
		}
	}
	return out
}

// unready are the reasons for which the host does not do its work at this moment.
func (r *Report) unready() []Problem {
	out := []Problem{}
	for i := range r.Streams {
		s := &r.Streams[i]
		if s.State != stream.Streaming {
			out = append(out, Problem{Stream: s.Name, Text: because("the stream is "+string(s.State), s.Error)})
		}
		for _, k := range s.Sinks {
			if k.Required && k.State != stream.SinkLive {
				out = append(out, Problem{Stream: s.Name, Sink: k.Name, Text: because("the required sink is "+doing(k.State), k.Error)})
			}
		}
	}
	return out
}

// doing is the state in a sentence.
func doing(s stream.SinkState) string {
	if s == stream.SinkBackup {
		return "receiving its base backup"
	}
	return string(s)
}

// because is a text and its reason, if there is one.
func because(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + ": " + reason
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
