package sdk

import (
	"fmt"

	"github.com/walplex/walplex/sdk/wire"
)

// Validator is a configuration that can say more about itself than its schema.
// It touches nothing: no file, no connection.
type Validator interface {
	// Validate returns what is wrong, each with the path of its attribute.
	Validate() []ConfigError
}

// ConfigError is something wrong with a configuration. The host shows it at the
// attribute's place in the user's file.
type ConfigError struct {
	// Path leads to the attribute: attribute and block names as string, positions
	// in a list as int. Empty is the whole config block.
	Path    []any
	Summary string // what is wrong
	Detail  string // what to do
	Warning bool   // it is no reason to stop
}

func (e ConfigError) Error() string { return e.Summary + ": " + e.Detail }

func (e ConfigError) diagnostic() *wire.Diagnostic {
	d := &wire.Diagnostic{Summary: e.Summary, Detail: e.Detail}
	if e.Warning {
		d.Severity = wire.Diagnostic_WARNING
	}
	for _, step := range e.Path {
		switch s := step.(type) {
		case int:
			d.Path = append(d.Path, &wire.PathStep{Step: &wire.PathStep_Index{Index: int64(s)}})
		default:
			d.Path = append(d.Path, &wire.PathStep{Step: &wire.PathStep_Name{Name: fmt.Sprint(s)}})
		}
	}
	return d
}

// validate decodes and checks a configuration.
func (d *Definition) validate(config []byte) (any, []*wire.Diagnostic) {
	c, err := decodeConfig(d.config, config)
	if err != nil {
		return nil, []*wire.Diagnostic{{Summary: "Configuration cannot be read", Detail: err.Error()}}
	}
	var out []*wire.Diagnostic
	if v, ok := c.(Validator); ok {
		for _, e := range v.Validate() {
			out = append(out, e.diagnostic())
		}
	}
	return c, out
}
