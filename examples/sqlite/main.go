// Command walplex-sink-sqlite is a sink for Walplex: it writes the WAL's records
// into an SQLite database, to be asked by SQL, each exactly once.
//
//	walplex-sink-sqlite query FILE SQL
//
// asks such a database, on a machine without a shell of SQLite's.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/walplex/walplex/sdk"
)

func main() {
	if len(os.Args) == 1 {
		sdk.Serve(definition())
	}
	if len(os.Args) != 4 || os.Args[1] != "query" {
		fmt.Fprintln(os.Stderr, "usage: walplex-sink-sqlite query FILE SQL")
		os.Exit(2)
	}
	if err := query(context.Background(), os.Args[2], os.Args[3], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type config struct {
	File string `walplex:"file" format:"path" default:"wal.db" doc:"the database; made when missing"`
}

// definition: MaxRecord(0), because of a large record its last fragment says all
// that is kept.
func definition() *sdk.Definition {
	return sdk.Define("sqlite", func(c *config) sdk.Sink { return &sink{file: c.File} },
		sdk.Records(), sdk.MaxRecord(0), sdk.Rewinds())
}
