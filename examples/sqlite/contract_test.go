package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/sinktest"
	"github.com/walplex/walplex/sdk/wal"
)

// TestContract holds the sink to what every sink promises, and to what this one
// does beyond it: each record is there once.
func TestContract(t *testing.T) {
	sinktest.Run(t, definition, sinktest.Holds(func(_ durable.FS, dir string) (held []wal.LSN, err error) {
		var rows strings.Builder
		if err := query(t.Context(), filepath.Join(dir, "file"), "SELECT start_lsn FROM record ORDER BY 1", &rows); err != nil {
			return nil, err
		}
		for _, row := range strings.Fields(rows.String())[1:] {
			n, err := strconv.ParseUint(row, 10, 64)
			if err != nil {
				return nil, err
			}
			held = append(held, wal.LSN(n))
		}
		return held, nil
	}))
}
