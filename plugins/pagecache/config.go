package pagecache

import (
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/walplex/walplex/plugins/pagecache/pagestore"
	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal/retention"
)

// Config is the configuration of the sink.
type Config struct {
	Directory string `walplex:"directory,required" format:"path" doc:"where the cache lies; one sink's alone"`
	Listen    string `walplex:"listen" format:"path" doc:"the Unix socket on which pages are read; pages.sock in the directory unless given"`

	ListenTCP   string `walplex:"listen_tcp" doc:"host:port on which pages are read over TCP as well; needs the three tls settings, there is no TCP without TLS"`
	TLSCert     string `walplex:"tls_cert" format:"path" doc:"our certificate for listen_tcp, PEM, with those between it and its authority"`
	TLSKey      string `walplex:"tls_key" format:"path" doc:"the certificate's key, PEM, which nobody else may read"`
	TLSClientCA string `walplex:"tls_client_ca" format:"path" doc:"the authority of the clients' certificates, PEM: who has one of its certificates can read everything"`

	BaseBackup     bool          `walplex:"base_backup" default:"false" doc:"begin with a base backup when new: then every page can be read, else those that had an image since"`
	Retain         int64         `walplex:"retain" format:"bytes" default:"0" doc:"keep the pages' history over so much WAL; 0 with no retain_age: all of it"`
	RetainAge      string        `walplex:"retain_age" doc:"keep the pages' history over this time: days and hours, such as 7d or 36h"`
	RetainInterval time.Duration `walplex:"retain_interval" default:"1m" doc:"how often history that is not to be kept is collected"`
	MaxReplay      int           `walplex:"max_replay" default:"500" doc:"records that a read replays at most, before an image of the page is kept"`

	Databases []string `walplex:"databases" doc:"keep pages of these databases only, by OID, and shared catalogs; with relations: of either. All unless given"`
	Relations []string `walplex:"relations" doc:"keep pages of these relations only, as tablespace/database/file number, and shared catalogs"`
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
	var out []sdk.ConfigError
	wrong := func(name, summary, detail string) {
		out = append(out, sdk.ConfigError{Path: []any{name}, Summary: summary, Detail: detail})
	}
	if n := len(c.listen()); n > maxSocketPath {
		wrong("listen", "Path of the socket is too long",
			fmt.Sprintf("%s has %d bytes, and a Unix socket's path can have %d here. Set listen to a shorter one.", c.listen(), n, maxSocketPath))
	}
	c.validateTCP(wrong)
	if c.Retain < 0 {
		wrong("retain", "Not a size", fmt.Sprintf("%d is below zero: write a size such as 100GiB", c.Retain))
	}
	if c.RetainAge != "" {
		if _, err := retention.ParseAge(c.RetainAge); err != nil {
			wrong("retain_age", "Not an age", err.Error())
		}
	}
	if c.RetainInterval < 0 {
		wrong("retain_interval", "Not an interval", "Write a time such as 1m.")
	}
	if c.MaxReplay < 0 {
		wrong("max_replay", "Not a number of records", fmt.Sprintf("%d is below zero: write a number of records, 0 for the default", c.MaxReplay))
	}
	if _, err := parseDatabases(c.Databases); err != nil {
		wrong("databases", "Not a database", err.Error())
	}
	if _, err := parseRelations(c.Relations); err != nil {
		wrong("relations", "Not a relation", err.Error())
	}
	return out
}

// validateTCP checks that TCP comes with all that TLS needs.
func (c *Config) validateTCP(wrong func(name, summary, detail string)) {
	files := []struct{ name, value string }{{"tls_cert", c.TLSCert}, {"tls_key", c.TLSKey}, {"tls_client_ca", c.TLSClientCA}}
	if c.ListenTCP == "" {
		for _, f := range files {
			if f.value != "" {
				wrong(f.name, "TLS without TCP", "The Unix socket has no TLS. Set listen_tcp, or leave this out.")
			}
		}
		return
	}
	if _, _, err := net.SplitHostPort(c.ListenTCP); err != nil {
		wrong("listen_tcp", "Not host:port", fmt.Sprintf("%v. Write an address such as 10.0.0.5:7000, or :7000 for all addresses.", err))
	}
	for _, f := range files {
		if f.value == "" {
			wrong("listen_tcp", "TCP without TLS", "Pages are served over TCP only with TLS on both sides. Set "+f.name+".")
		}
	}
}

// Definition is the sink type page_cache.
func Definition() *sdk.Definition {
	return sdk.Define("page_cache", func(c *Config) sdk.Sink { return newSink(c, vfs.Default) },
		sdk.Records(), sdk.Rewinds(), sdk.ReportsApplied(), sdk.BaseBackup(func(c *Config) bool { return c.BaseBackup }),
		sdk.MaxRecord(pagestore.MaxReadRecord))
}
