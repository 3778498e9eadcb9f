package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// withheld stands where a secret was.
const withheld = "(sensitive)"

// Secret is a string that does not print itself: not with fmt, not as JSON, not
// in log/slog, and not as a field of something that is printed. The zero value
// is the empty secret.
type Secret struct{ value *string }

// NewSecret hides a string.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal is the string itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports that there is nothing to hide.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String does not reveal the secret.
func (s Secret) String() string { return withheld }

// GoString does not reveal the secret.
func (s Secret) GoString() string { return withheld }

// Format does not reveal the secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(withheld)) }

// MarshalText does not reveal the secret; encoding/json uses it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(withheld), nil }

// LogValue does not reveal the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(withheld) }

const (
	// minForeignSecret is the length in bytes from which values of env() and
	// file() are looked for in foreign text: shorter ones are words.
	minForeignSecret = 4
	// minSecretLine is the length in bytes from which a single line of a secret
	// of several lines is looked for too.
	minSecretLine = 8
)

// secrets are the values known not to be shown. Safe for concurrent use.
type secrets struct {
	mu     sync.Mutex
	known  map[string]bool
	short  []string // too short to be cut out of a text: the text is withheld
	cutter *strings.Replacer
}

// add remembers a secret: declared as one, or merely read from outside.
func (s *secrets) add(value string, declared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addForms(value, declared)
	if trimmed := strings.TrimSpace(value); trimmed != value {
		s.addForms(trimmed, declared)
	}
	if strings.Contains(value, "\n") {
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) >= minSecretLine {
				s.addForms(line, declared)
			}
		}
	}
}

// addForms adds the value and what it becomes in Go's quotes, JSON and URLs.
func (s *secrets) addForms(value string, declared bool) {
	if value == "" {
		return
	}
	if len(value) < minForeignSecret {
		if declared && !slices.Contains(s.short, value) {
			s.short = append(s.short, value)
		}
		return
	}
	if s.known == nil {
		s.known = map[string]bool{}
	}
	if s.known[value] {
		return
	}
	inJSON, _ := json.Marshal(value) // a string always has a JSON form
	inGo := strconv.Quote(value)
	for _, form := range []string{
		value, string(inJSON[1 : len(inJSON)-1]), inGo[1 : len(inGo)-1],
		url.QueryEscape(value), url.PathEscape(value),
	} {
		s.known[form] = true
	}
	s.cutter = nil
}

// redact cuts every known secret out of the text.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutter == nil {
		s.cutter = s.newCutter()
	}
	text = s.cutter.Replace(text)
	for _, short := range s.short {
		if strings.Contains(strings.ReplaceAll(text, withheld, ""), short) {
			return withheld
		}
	}
	return text
}

// newCutter replaces longer secrets before those that are parts of them.
func (s *secrets) newCutter() *strings.Replacer {
	var known []string
	for form := range s.known {
		known = append(known, form)
	}
	slices.SortFunc(known, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	pairs := make([]string, 0, 2*len(known))
	for _, form := range known {
		pairs = append(pairs, form, withheld)
	}
	return strings.NewReplacer(pairs...)
}

// dsnPassword finds password and sslpassword in libpq's keyword=value form and
// among a URL's parameters.
var dsnPassword = regexp.MustCompile(`(?i)password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)`)

// addDSN remembers a connection string and the passwords in it.
func (s *secrets) addDSN(dsn string) {
	s.add(dsn, true)
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			s.add(password, true)
		}
	}
	if _, rest, ok := strings.Cut(dsn, "://"); ok { // as written, and where it is no valid URL
		if user, _, ok := cutLast(rest, "@"); ok {
			if _, password, ok := strings.Cut(user, ":"); ok {
				s.add(password, true)
			}
		}
	}
	for _, m := range dsnPassword.FindAllStringSubmatch(dsn, -1) {
		s.add(m[1], true)
		plain := m[1]
		if strings.HasPrefix(plain, "'") {
			plain = strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(plain[1 : len(plain)-1])
		}
		s.add(plain, true)
		if decoded, err := url.QueryUnescape(plain); err == nil {
			s.add(decoded, true)
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
