// Command faultysink is a sink that fails in the way its configuration names, to
// see that it harms nobody else.
package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

func main() {
	sdk.Serve(sdk.Define("faulty", func(c *config) sdk.Sink { return &sink{config: c} }, sdk.Records()))
}

type config struct {
	Fault string `walplex:"fault,required" doc:"open_hangs, open_fails, open_lies, write_panics, write_hangs, flush_lies"`
}

// sink holds nothing: each of its lives is new.
type sink struct {
	config  *config
	log     *slog.Logger
	to      wal.LSN
	written int // bytes of records
}

// forever is a wait that ignores that its caller has gone away.
func forever(log *slog.Logger, what string) {
	log.Info(what + " hangs")
	select {}
}

func (s *sink) Open(_ context.Context, req *sdk.OpenRequest) (sdk.OpenResult, error) {
	s.log = req.Logger
	switch s.config.Fault {
	case "open_hangs":
		forever(s.log, "open")
	case "open_fails":
		return sdk.OpenResult{}, errors.New("cannot be opened today")
	case "open_lies":
		return sdk.OpenResult{SystemID: req.System.ID, Position: wal.Position{Timeline: req.System.Timeline, LSN: 1 << 40}}, nil
	}
	return sdk.OpenResult{New: true}, nil
}

func (s *sink) Write(_ context.Context, b *sdk.Batch) error {
	for rec := range b.Records() {
		s.written += int(rec.TotalLen)
	}
	s.to = b.To()
	const enough = 256 << 10
	switch {
	case s.written < enough:
	case s.config.Fault == "write_panics":
		panic("poisoned")
	case s.config.Fault == "write_hangs":
		forever(s.log, "write")
	}
	return nil
}

func (s *sink) Flush(context.Context) (wal.LSN, error) {
	if s.config.Fault == "flush_lies" {
		return s.to + 1<<30, nil
	}
	return s.to, nil
}

func (s *sink) Close(context.Context) error { return nil }
