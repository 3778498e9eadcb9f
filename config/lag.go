package config

import "slices"

// loadLag reads what happens to a sink that falls behind; Required is known.
func (l *loader) loadLag(attrs attributes, s *Sink) {
	s.OnLag = CatchUp
	if s.Required {
		s.OnLag = Block
	}
	policies := []string{string(Block), string(CatchUp), string(Detach)}
	text, written := attrs.text("on_lag")
	switch {
	case written && !slices.Contains(policies, text):
		attrs.bad("on_lag", &plainError{"must be one of " + listNames(policies), suggest(text, policies)})
		return
	case written && s.Required && OnLag(text) == Detach:
		attrs.bad("on_lag", &plainError{"a required sink cannot be left behind",
			`the server keeps WAL until it has flushed it: use "block" or "catch_up", or required = false`})
		return
	case written:
		s.OnLag = OnLag(text)
	}
	n, has := attrs.size("max_lag")
	switch {
	case !has:
	case n == 0:
		attrs.bad("max_lag", &plainError{"must be above zero", `write a size such as "1GiB", or leave max_lag out: on_lag then applies when the sink would hold up the stream`})
	case s.OnLag == Block && !written:
		attrs.bad("max_lag", &plainError{`means nothing with on_lag = "block", the default of a required sink`, `add on_lag = "catch_up", or leave max_lag out`})
	case s.OnLag == Block:
		attrs.bad("max_lag", &plainError{`means nothing with on_lag = "block"`, `the stream waits for the sink at once: use on_lag = "catch_up", or leave max_lag out`})
	default:
		s.MaxLag = n
	}
}

// trusted is what the plugin block of a sink's type says.
func (l *loader) trusted(typeName string) bool {
	for _, p := range l.config.Plugins {
		if p.Type == typeName {
			return p.Trusted
		}
	}
	return true
}
