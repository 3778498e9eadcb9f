package supervisor

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/walplex/walplex/sdk/wire"
)

// explain turns go-plugin's failures, which it has as texts, into what a person
// can act on. state is how the process ended.
func (p *Process) explain(err error, state string) error {
	e := &StartError{Type: p.spec.Type, Permanent: true, Lines: p.lines.last()}
	text := err.Error()
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		e.Reason = p.spec.Path + " is not a program for this machine (exec format error); build it for this operating system and processor"
	case errors.Is(err, syscall.EACCES):
		e.Reason = p.spec.Path + " may not be executed by this user; check its mode and the file system's mount options"
	case errors.Is(err, plugin.ErrChecksumsDoNotMatch):
		e.Reason = p.spec.Path + " was changed: its checksum differs from sha256"
	case errors.Is(err, syscall.ENOENT):
		// It was there a moment ago, so what is missing is what it names.
		e.Reason = p.spec.Path + " cannot be executed because what runs it is missing: the interpreter in its first line, or its dynamic loader; install that, or build the program statically"
	case strings.Contains(text, "Failed to read any lines"), strings.Contains(text, "plugin exited before"):
		e.Reason = fmt.Sprintf("%s ended before the handshake (%s)", p.spec.Path, state)
		// What makes a process end at its start may be passing, as a full process table.
		e.Permanent = false
	case strings.Contains(text, "Unrecognized remote plugin message"):
		e.Reason = fmt.Sprintf("%s wrote %q to standard output, where the handshake was expected; a sink prints nothing there and calls sdk.Serve at once",
			p.spec.Path, noise(text))
	case strings.Contains(text, "rror parsing"), strings.Contains(text, "unknown address type"):
		e.Reason = fmt.Sprintf("%s wrote a line to standard output that is no handshake (%s); a sink prints nothing there and calls sdk.Serve at once", p.spec.Path, text)
	case strings.Contains(text, "ncompatible"):
		e.Reason = fmt.Sprintf("%s speaks another version of the protocol than this walplex, which knows version %d; install a sink built with a matching sdk", p.spec.Path, wire.ProtocolVersion)
	case strings.Contains(text, "unsupported plugin protocol"):
		e.Reason = p.spec.Path + " does not speak gRPC; build it with sdk.Serve"
	case strings.Contains(text, "timeout while waiting"):
		e.Reason = fmt.Sprintf("%s did not complete the handshake within %s", p.spec.Path, startTimeout)
		e.Permanent = false
	default:
		e.Reason = text
		e.Permanent = false
	}
	return e
}

// explainDescribe says why a program that made the handshake is no sink.
func (p *Process) explainDescribe(err error) error {
	e := &StartError{Type: p.spec.Type, Lines: p.lines.last()}
	switch st := status.Convert(err); st.Code() {
	case codes.Unimplemented:
		e.Permanent = true
		e.Reason = p.spec.Path + " makes the handshake but is no sink (" + st.Message() + "); build it with sdk.Serve"
	case codes.DeadlineExceeded:
		e.Reason = fmt.Sprintf("%s did not describe itself within %s", p.spec.Path, startTimeout)
	default:
		e.Reason = p.spec.Path + " ended or failed before it described itself: " + st.Message()
	}
	return e
}

// noise is the line that was found in place of the handshake.
func noise(text string) string {
	_, s, _ := strings.Cut(text, "Unrecognized remote plugin message: ")
	s, _, _ = strings.Cut(s, "\n")
	const limit = 200
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return s
}
