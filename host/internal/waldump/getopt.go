package waldump

import (
	"fmt"
	"strings"
)

// argument says whether an option takes one.
type argument uint8

const (
	noArgument argument = iota
	requiredArgument
	optionalArgument // of a long option, only as --name=value
)

// longOption is an option's long name and what it stands for.
type longOption struct {
	name string
	arg  argument
	id   rune
}

// token is an option as it was given.
type token struct {
	id    rune
	value string
	given bool // value was given
}

// getopt splits the arguments as GNU's getopt_long does: options may stand
// behind operands, long names may be cut short while they are unambiguous, "--"
// ends the options. Options up to the first fault are answered together with it;
// it is in glibc's words.
func getopt(args []string, short string, long []longOption) (opts []token, operands []string, fault string) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return opts, append(operands, args[i+1:]...), ""
		case strings.HasPrefix(a, "--"):
			name, value, given := strings.Cut(a[2:], "=")
			o, fault := matchLong(name, a, long)
			if fault == "" {
				switch {
				case given && o.arg == noArgument:
					fault = fmt.Sprintf("option '--%s' doesn't allow an argument", o.name)
				case !given && o.arg == requiredArgument && i+1 == len(args):
					fault = fmt.Sprintf("option '--%s' requires an argument", o.name)
				case !given && o.arg == requiredArgument:
					i++
					value, given = args[i], true
				}
			}
			if fault != "" {
				return opts, operands, fault
			}
			opts = append(opts, token{o.id, value, given})
		case len(a) > 1 && a[0] == '-':
			next := ""
			if i+1 < len(args) {
				next = args[i+1]
			}
			found, took, fault := splitShort(a[1:], next, i+1 < len(args), short)
			opts = append(opts, found...)
			if fault != "" {
				return opts, operands, fault
			}
			if took {
				i++
			}
		default:
			operands = append(operands, a)
		}
	}
	return opts, operands, ""
}

// splitShort reads a group of short options; took says that the next argument
// was one's value.
func splitShort(group, next string, haveNext bool, short string) (opts []token, took bool, fault string) {
	for i := 0; i < len(group); i++ {
		c := group[i]
		at := strings.IndexByte(short, c)
		if at < 0 || c == ':' {
			return opts, false, fmt.Sprintf("invalid option -- '%c'", c)
		}
		if at+1 == len(short) || short[at+1] != ':' {
			opts = append(opts, token{id: rune(c)})
			continue
		}
		switch rest := group[i+1:]; {
		case rest != "":
			return append(opts, token{rune(c), rest, true}), false, ""
		case haveNext:
			return append(opts, token{rune(c), next, true}), true, ""
		}
		return opts, false, fmt.Sprintf("option requires an argument -- '%c'", c)
	}
	return opts, false, ""
}

// matchLong finds the option of that name or the only one that begins with it.
// a is the argument as it was given.
func matchLong(name, a string, long []longOption) (longOption, string) {
	var found []longOption
	for _, o := range long {
		if o.name == name {
			return o, ""
		}
		if strings.HasPrefix(o.name, name) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return longOption{}, fmt.Sprintf("unrecognized option '%s'", a)
	case 1:
		return found[0], ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "option '%s' is ambiguous; possibilities:", a)
	for _, o := range found {
		fmt.Fprintf(&b, " '--%s'", o.name)
	}
	return longOption{}, b.String()
}
