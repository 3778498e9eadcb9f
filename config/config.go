package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/walplex/walplex/sdk/wal"
)

// Defaults of settings that the file leaves out.
const (
	DefaultStatusInterval  = 10 * time.Second
	DefaultReceiverTimeout = 60 * time.Second

	DefaultRing int64 = 64 << 20 // bytes
)

// Options are what a configuration depends on beside its files.
type Options struct {
	// Vars are the values given by --var, by name.
	Vars map[string]string
	// Env looks an environment variable up; nil is os.LookupEnv.
	Env func(name string) (string, bool)
	// Builtins are the sink types that the host has itself: no plugin block may
	// take one of these names.
	Builtins []string
}

// Config is a configuration. When [Load] answered errors it holds what could be
// read nevertheless: enough to check further, not to run.
type Config struct {
	Host    Host
	Plugins []*Plugin // in the order of the files
	Streams []*Stream

	scope *scope
}

// Host are the settings of the host process.
type Host struct {
	Control    string   // absolute path of a Unix socket; empty: not set
	HTTP       string   // host:port; empty: not set
	PluginDirs []string // absolute
	Ring       int64    // bytes of the shared ring of a stream; 0: none
	// DevOverrides are programs, absolute, by the sink types that they are tried as.
	DevOverrides map[string]string

	Range             hcl.Range // of the block's header; zero without a block
	ControlRange      hcl.Range // of the value, or of the header when it is absent; so are all below
	HTTPRange         hcl.Range
	PluginDirsRange   hcl.Range
	RingRange         hcl.Range
	DevOverridesRange hcl.Range
}

// Plugin is a sink type that is a program of its own.
type Plugin struct {
	Type     string
	Path     string // absolute
	SHA256   string // 64 lower-case hexadecimal digits; empty: not checked
	Args     []string
	Env      map[string]Secret
	AutoMTLS bool
	Trusted  bool // what sinks of the type are when they do not say

	Range       hcl.Range // of the block's header
	TypeRange   hcl.Range
	PathRange   hcl.Range
	SHA256Range hcl.Range
}

// Stream is one physical replication stream and its sinks.
type Stream struct {
	Name      string
	Postgres  Postgres
	Archive   *Archive    // the source instead of Postgres; nil: there is none
	Fallbacks []*Fallback // in the order of the file
	Sinks     []*Sink     // in the order of the file

	Range hcl.Range // of the block's header
}

// Postgres says where a stream comes from.
type Postgres struct {
	DSN             Secret
	Slot            string // empty: none
	CreateSlot      bool
	StatusInterval  time.Duration
	ReceiverTimeout time.Duration
	Start           wal.LSN // 0: not set

	Range           hcl.Range // of the block's header
	DSNRange        hcl.Range
	SlotRange       hcl.Range
	CreateSlotRange hcl.Range
	StartRange      hcl.Range
}

// Sink is one sink of a stream.
type Sink struct {
	Type     string
	Name     string // unique in its stream
	Required bool
	After    []string // names of sinks of the same stream
	Filter   *Filter  // nil: every record
	OnLag    OnLag
	MaxLag   int64 // bytes behind the stream from which OnLag applies; 0: not set
	Trusted  bool  // may share memory with the host, which shows it what is not for it

	Range        hcl.Range // of the block's header
	TypeRange    hcl.Range
	NameRange    hcl.Range
	AfterRange   hcl.Range
	FilterRange  hcl.Range
	OnLagRange   hcl.Range
	MaxLagRange  hcl.Range
	TrustedRange hcl.Range
	ConfigRange  hcl.Range // of the config block's header, or of the sink's when there is none

	body *sinkBody
}

// OnLag is what happens to a sink that falls behind.
type OnLag string

// The policies for a sink that falls behind.
const (
	Block   OnLag = "block"    // the stream waits for it
	CatchUp OnLag = "catch_up" // it is served beside the stream
	Detach  OnLag = "detach"   // it is off
)

// ErrorAt makes an error at a place in the configuration, for what only later
// stages can find: an unreachable server at Postgres.DSNRange, a missing program
// at Plugin.PathRange. Secrets of the configuration are taken out of the texts.
func (c *Config) ErrorAt(at hcl.Range, summary, detail string) *Diagnostic {
	return c.scope.source.diagnostic(Error, at, c.Redact(summary), c.Redact(detail))
}

// WarningAt is [Config.ErrorAt] of what is no reason not to run.
func (c *Config) WarningAt(at hcl.Range, summary, detail string) *Diagnostic {
	return c.scope.source.diagnostic(Warning, at, c.Redact(summary), c.Redact(detail))
}

// Redact replaces every secret of the configuration that occurs in a text by
// others: the values of dsn and of the password in it, of env() and file(), of
// sensitive variables and, once decoded, of sensitive settings of sinks.
func (c *Config) Redact(text string) string { return c.scope.secrets.redact(text) }

// UnknownType makes the error that the host has no sink of this type; known are
// the types that it has.
func (s *Sink) UnknownType(known []string) *Diagnostic {
	detail := "known types: " + listNames(known)
	if near := Nearest(s.Type, known); near != "" {
		detail = didYouMean(near) + "; " + detail
	}
	detail += "\na program is made a type by a plugin block, or as walplex-sink-" + s.Type + " in host.plugin_dirs"
	return s.body.scope.source.diagnostic(Error, s.TypeRange, "unknown sink type "+quote(s.Type), detail)
}
