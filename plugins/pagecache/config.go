package pagecache

import (
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
)

// Config is the configuration of the sink.
type Config struct {
	Directory string `walplex:"directory,required" format:"path" doc:"where the cache lies; one sink's alone"`
	Listen    string `walplex:"listen" format:"path" doc:"the Unix socket on which pages are read; pages.sock in the directory unless given"`
}

// socketName is the socket in the directory.
const socketName = "pages.sock"

// maxSocketPath is the longest path of a Unix socket, in bytes: sun_path less its
// NUL, less the suffix under which the socket is made.
const maxSocketPath = 108 - 1 - len(newSocketSuffix)

func (c *Config) listen() string {
	if c.Listen != "" {
		return c.Listen
	}
	return filepath.Join(c.Directory, socketName)
}

// Validate says what the schema cannot.
func (c *Config) Validate() []sdk.ConfigError {
	if c.Directory == "" {
		return []sdk.ConfigError{{Path: []any{"directory"}, Summary: "No directory", Detail: "Name the directory in which the cache lies."}}
	}
	if n := len(c.listen()); n > maxSocketPath {
		return []sdk.ConfigError{{Path: []any{"listen"}, Summary: "Path of the socket is too long",
			Detail: fmt.Sprintf("%s has %d bytes, and a Unix socket's path can have %d here. Set listen to a shorter one.", c.listen(), n, maxSocketPath)}}
	}
	return nil
}

// Definition is the sink type page_cache.
func Definition() *sdk.Definition {
	return sdk.Define("page_cache", func(c *Config) sdk.Sink { return newSink(c, vfs.Default) },
		sdk.Records(), sdk.Rewinds(), sdk.ReportsApplied(), sdk.MaxRecord(pagestore.MaxReadRecord))
}
