package audit

import (
	"strconv"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
)

// What a trail can hold.
const (
	// LevelRecord is one line for every record.
	LevelRecord = "record"
	// LevelTransaction is one line for every record that has a transaction's time:
	// commits, aborts and prepares.
	LevelTransaction = "transaction"
)

// minRotate is the least rotate_bytes, so that a directory does not fill with
// files of a line each.
const minRotate = 64 << 10

// Config is the sink's configuration.
type Config struct {
	Directory string `walplex:"directory,required" format:"path" doc:"where the trail lies; made when missing, and the sink's alone"`
	Rotate    int64  `walplex:"rotate_bytes" format:"bytes" default:"256MiB" doc:"size at which the next file is begun"`
	Level     string `walplex:"level" default:"record" doc:"record: a line for every record; transaction: for commits, aborts and prepares only"`
}

// Validate checks what the schema cannot say.
func (c *Config) Validate() []sdk.ConfigError {
	var out []sdk.ConfigError
	if c.Directory == "" {
		out = append(out, sdk.ConfigError{Path: []any{"directory"}, Summary: "The directory is empty",
			Detail: "Name the directory in which the trail is to lie."})
	}
	if c.Rotate < minRotate {
		out = append(out, sdk.ConfigError{Path: []any{"rotate_bytes"}, Summary: "The files would be too small",
			Detail: "rotate_bytes is at least 64KiB, not " + strconv.FormatInt(c.Rotate, 10) + " bytes."})
	}
	if c.Level != LevelRecord && c.Level != LevelTransaction {
		out = append(out, sdk.ConfigError{Path: []any{"level"}, Summary: "Unknown level " + strconv.Quote(c.Level),
			Detail: `level is "record" or "transaction".`})
	}
	return out
}

// Definition is the sink type "audit", whose files lie in fsys.
func Definition(fsys durable.FS) *sdk.Definition {
	return sdk.Define("audit", func(c *Config) sdk.Sink { return newSink(fsys, c) },
		sdk.Records(), sdk.Rewinds(),
		// A line needs a record's head only, which its first fragment holds.
		sdk.MaxRecord(0))
}
