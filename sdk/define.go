package sdk

import (
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wire"
)

// DefaultMaxRecord is the size in bytes up to which a record is put together for
// a sink that did not say otherwise.
const DefaultMaxRecord = 16 << 20

// Definition describes one type of sink. [Define] makes it, [Serve] runs it.
type Definition struct {
	typeName  string
	config    reflect.Type
	new       func(config any) Sink
	version   string
	wal       bool
	records   bool
	rmgrs     []wal.RmgrID
	maxRecord int
	applied   bool
	reader    bool
	rewinder  bool

	wantsBackup func(config any) bool // nil: the sink takes none
}

// Option changes a Definition.
type Option func(*Definition)

// Define describes a sink type: its name in the configuration, and how to make
// one from its decoded configuration. C is a struct whose fields carry tags, see
// [ConfigSchema].
func Define[C any](typeName string, newSink func(config *C) Sink, options ...Option) *Definition {
	d := &Definition{
		typeName:  typeName,
		config:    reflect.TypeFor[C](),
		new:       func(c any) Sink { return newSink(c.(*C)) },
		maxRecord: DefaultMaxRecord,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		d.version = info.Main.Version
	}
	for _, o := range options {
		o(d)
	}
	return d
}

// RawWAL subscribes to the bytes of the WAL.
func RawWAL() Option { return func(d *Definition) { d.wal = true } }

// Records subscribes to decoded records: of these resource managers, or of all
// when none is named.
func Records(rmgrs ...wal.RmgrID) Option {
	return func(d *Definition) { d.records, d.rmgrs = true, rmgrs }
}

// MaxRecord sets the size in bytes up to which a record larger than a block is
// put together; beyond it the sink gets fragments.
func MaxRecord(n int) Option { return func(d *Definition) { d.maxRecord = n } }

// ReportsApplied says that the sink implements [Applier].
func ReportsApplied() Option { return func(d *Definition) { d.applied = true } }

// KeepsWAL says that the sink implements [Reader].
func KeepsWAL() Option { return func(d *Definition) { d.reader = true } }

// Rewinds says that the sink implements [Rewinder]. Without it the sink stops with
// a permanent error where a timeline ends.
func Rewinds() Option { return func(d *Definition) { d.rewinder = true } }

// Version is shown to people beside the sink's name. Without it, it is the
// version of the program's main module.
func Version(v string) Option { return func(d *Definition) { d.version = v } }

// Type is the sink's name in the configuration.
func (d *Definition) Type() string { return d.typeName }

// Schema is what the sink's config block may hold.
func (d *Definition) Schema() (*wire.Schema, error) { return ConfigSchema(d.config) }

// Raw reports that the sink subscribed to raw WAL.
func (d *Definition) Raw() bool { return d.wal }

// WantsRecords reports that the sink subscribed to records.
func (d *Definition) WantsRecords() bool { return d.records }

// NewSink makes a sink from a configuration as the host sends it: a JSON object
// of its attributes.
func (d *Definition) NewSink(configJSON []byte) (Sink, error) {
	c, problems := d.validate(configJSON)
	for _, p := range problems {
		if p.Severity == wire.Diagnostic_ERROR {
			return nil, fmt.Errorf("%s: %s", p.Summary, p.Detail)
		}
	}
	return d.new(c), nil
}
