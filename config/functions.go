package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/walplex/walplex/sdk/wal"
)

// mark says why a value is not shown. cty carries it to every value that is made
// of a marked one.
type mark string

const (
	markSensitive mark = "sensitive" // of a variable that says so
	markForeign   mark = "foreign"   // of env(), file() and what flows to a dsn
)

// foreignFunctions bring values from outside the files.
var foreignFunctions = []string{"env", "file"}

// functions are the functions of the language; dir is where relative paths start.
func (sc *scope) functions(dir string) map[string]function.Function {
	return map[string]function.Function{
		"env":      sc.envFunction(),
		"file":     sc.fileFunction(dir),
		"bytes":    bytesFunction,
		"duration": durationFunction,
		"lsn":      lsnFunction,

		"chomp":      stdlib.ChompFunc,
		"coalesce":   stdlib.CoalesceFunc,
		"concat":     stdlib.ConcatFunc,
		"contains":   stdlib.ContainsFunc,
		"format":     formatFunction,
		"join":       stdlib.JoinFunc,
		"length":     stdlib.LengthFunc,
		"lower":      stdlib.LowerFunc,
		"replace":    replaceFunction,
		"split":      stdlib.SplitFunc,
		"substr":     stdlib.SubstrFunc,
		"title":      stdlib.TitleFunc,
		"trim":       stdlib.TrimFunc,
		"trimprefix": stdlib.TrimPrefixFunc,
		"trimspace":  stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc,
		"upper":      stdlib.UpperFunc,
	}
}

// envFunction looks a variable of the environment up. It takes marked values,
// because only then can it tell whether its error may name the variable.
func (sc *scope) envFunction() function.Function {
	arg := function.Parameter{Name: "name", Type: cty.String, AllowMarked: true}
	def := function.Parameter{Name: "default", Type: cty.String, AllowMarked: true}
	return function.New(&function.Spec{
		Params:   []function.Parameter{arg},
		VarParam: &def,
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) > 2 {
				return cty.NilVal, &plainError{"env takes one or two arguments", `write env("NAME") or env("NAME", "default")`}
			}
			nameVal, marks := args[0].Unmark()
			name := nameVal.AsString()
			value, ok := "", false
			if name != "" && !strings.ContainsAny(name, "=\x00") {
				value, ok = sc.env(name)
			}
			if !ok && len(args) == 2 {
				defVal, defMarks := args[1].Unmark()
				value, ok = defVal.AsString(), true
				marks = cty.NewValueMarks(marks, defMarks)
			}
			if !ok {
				return cty.NilVal, envUnset(name, len(marks) > 0)
			}
			sc.secrets.add(value, false)
			return cty.StringVal(value).Mark(markForeign).WithMarks(marks), nil
		},
	})
}

// envName is a name that may be repeated: anything else may be a secret that
// was put in the wrong place.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func envUnset(name string, secret bool) error {
	if secret || !envName.MatchString(name) {
		return &plainError{"environment variable is not set", `set it, or give a default: env("NAME", "default")`}
	}
	return &plainError{
		"environment variable " + quote(name) + " is not set",
		"set it, or give a default: env(" + quote(name) + `, "default")`,
	}
}

func (sc *scope) fileFunction(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String, AllowMarked: true}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			pathVal, marks := args[0].Unmark()
			path := pathVal.AsString()
			shown := quote(path)
			if len(marks) > 0 {
				shown = "whose path is not shown"
			}
			text, problem := readText(dir, path)
			if problem != "" {
				return cty.NilVal, &plainError{"cannot read file " + shown + ": " + problem, "a relative path starts at the directory of this configuration file"}
			}
			sc.secrets.add(text, false)
			return cty.StringVal(text).Mark(markForeign).WithMarks(marks), nil
		},
	})
}

// readText reads a regular file of text; a device or pipe could block for ever.
func readText(dir, path string) (text, problem string) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", reason(err)
	}
	if !info.Mode().IsRegular() {
		return "", "not a regular file"
	}
	b, err := readLimited(path)
	if err != nil {
		return "", reason(err)
	}
	if !utf8.Valid(b) {
		return "", "not UTF-8 text"
	}
	return string(b), ""
}

var bytesFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "size", Type: cty.String}},
	Type:   function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		n, problem := parseBytes(args[0].AsString())
		if problem != nil {
			return cty.NilVal, problem
		}
		return cty.NumberIntVal(n), nil
	},
})

var durationFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "duration", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		d, problem := parseDuration(args[0].AsString())
		if problem != nil {
			return cty.NilVal, problem
		}
		return cty.StringVal(d.String()), nil
	},
})

var lsnFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "lsn", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		l, err := wal.ParseLSN(args[0].AsString())
		if err != nil {
			return cty.NilVal, errLSN // err repeats the value
		}
		return cty.StringVal(l.String()), nil
	},
})

// largeWidth is a width or precision of four digits or more in a format.
var largeWidth = regexp.MustCompile(`%[^%a-zA-Z]*[0-9]{4}`)

// formatFunction is cty's format without widths that would fill the memory.
var formatFunction = function.New(&function.Spec{
	Params:   stdlib.FormatFunc.Params(),
	VarParam: stdlib.FormatFunc.VarParam(),
	Type:     function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if f := args[0]; f.IsKnown() && largeWidth.MatchString(f.AsString()) {
			return cty.NilVal, &plainError{"format width too large", "write a width of at most three digits"}
		}
		return stdlib.FormatFunc.Call(args)
	},
})

// replaceFunction is cty's replace with a bound on what it makes.
var replaceFunction = function.New(&function.Spec{
	Params: stdlib.ReplaceFunc.Params(),
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		s, old, repl := args[0].AsString(), args[1].AsString(), args[2].AsString()
		if n := strings.Count(s, old); n > 0 && len(repl) > maxFileSize/n {
			return cty.NilVal, &plainError{"result of replace too large", "the result may have at most 1 MiB"}
		}
		return cty.StringVal(strings.ReplaceAll(s, old, repl)), nil
	},
})
