// Command nullsink is a sink that reads the header of every record and forgets
// it: what the delivery itself costs. At its end it writes to the file "result"
// what it has seen, as [Result] in JSON. With "pause" it is slow.
package main

import (
	"context"
	"encoding/json"
	"os"
	"syscall"
	"time"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

func main() {
	sdk.Serve(sdk.Define("null", func(c *config) sdk.Sink { return &sink{config: c} }, sdk.Records(), sdk.MaxRecord(0)))
}

type config struct {
	Result string        `walplex:"result,required" format:"path" doc:"file for what was seen"`
	Pause  time.Duration `walplex:"pause" default:"0s" doc:"how long each batch takes"`
}

// Result is what a sink has seen, and what that cost.
type Result struct {
	Records uint64        `json:"records"`
	CPU     time.Duration `json:"cpu_ns"` // of the sink's process
	Sum     uint64        `json:"sum"`    // of the headers: they were read
}

type sink struct {
	config *config
	to     wal.LSN
	result Result
}

// Open answers that nothing is held.
func (s *sink) Open(context.Context, *sdk.OpenRequest) (sdk.OpenResult, error) {
	return sdk.OpenResult{New: true}, nil
}

// Write reads the headers.
func (s *sink) Write(ctx context.Context, b *sdk.Batch) error {
	for rec := range b.Records() {
		s.result.Records++
		s.result.Sum += uint64(rec.StartLSN) ^ uint64(rec.EndLSN) ^ uint64(rec.XID) ^ uint64(rec.RmgrID)<<8 ^ uint64(rec.Info)
	}
	s.to = b.To()
	if s.config.Pause == 0 {
		return nil
	}
	pause := time.NewTimer(s.config.Pause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flush answers what was read.
func (s *sink) Flush(context.Context) (wal.LSN, error) { return s.to, nil }

// Close writes the result.
func (s *sink) Close(context.Context) error {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	s.result.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	text, err := json.Marshal(s.result)
	if err != nil {
		return err
	}
	return os.WriteFile(s.config.Result, text, 0o600)
}
