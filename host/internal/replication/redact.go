package replication

import (
	"net/url"
	"regexp"
	"strings"
)

// mask stands where a secret was.
const mask = "xxxxx"

// Redact is the connection string without its secrets, for logs. Where a
// malformed string leaves unclear what is a secret, more is masked than needed.
func Redact(dsn string) string {
	for _, scheme := range urlSchemes {
		if rest, ok := strings.CutPrefix(dsn, scheme); ok {
			return scheme + redactURL(rest)
		}
	}
	return redactKeywords(dsn)
}

var urlSchemes = []string{"postgresql://", "postgres://"}

func isURL(dsn string) bool {
	for _, scheme := range urlSchemes {
		if strings.HasPrefix(dsn, scheme) {
			return true
		}
	}
	return false
}

// redactURL masks the password between the first colon and the last @, since it
// may hold an unescaped @ or /. With an @ behind a question mark nobody knows
// where the password ends or whether it stands in the query: all of it goes.
func redactURL(rest string) string {
	location, query, hasQuery := strings.Cut(rest, "?")
	if strings.Contains(query, "@") {
		return rest[:strings.IndexAny(rest, ":?")+1] + mask
	}
	if at := strings.LastIndexByte(location, '@'); at >= 0 {
		user, _, hasPassword := strings.Cut(location[:at], ":")
		if hasPassword {
			user += ":" + mask
		}
		location = user + location[at:]
	}
	if !hasQuery {
		return location
	}
	return location + "?" + redactQuery(query)
}

// redactQuery masks the values of secret keys in a URL's query.
func redactQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(key)
		if err != nil || isSecretKey(plain) {
			pairs[i] = key + "=" + mask
		}
	}
	return strings.Join(pairs, "&")
}

// isSecretKey is generous: password, sslpassword, and whatever a later libpq
// may add.
func isSecretKey(key string) bool {
	key = strings.ToLower(key)
	if key == "passfile" {
		return false // a path
	}
	return strings.Contains(key, "pass") || strings.Contains(key, "secret") || strings.Contains(key, "token")
}

// nextKeyword is where a value that was not quoted ends at the latest: at the
// next keyword of libpq's. A password with an unquoted space is masked whole.
var nextKeyword = regexp.MustCompile(`\s+(?:host|hostaddr|port|dbname|database|user|password|passfile|connect_timeout|client_encoding|options|application_name|fallback_application_name|keepalives\w*|tcp_user_timeout|replication|gss\w+|krb\w+|ssl\w*|min_protocol_version|max_protocol_version|channel_binding|require_auth|service|servicefile|target_session_attrs|load_balance_hosts)\s*=`)

var keyword = regexp.MustCompile(`([^\s='"]+)\s*=\s*`)

// redactKeywords masks the values of secret keys in libpq's key=value form.
func redactKeywords(dsn string) string {
	var b strings.Builder
	for {
		loc := keyword.FindStringSubmatchIndex(dsn)
		if loc == nil {
			b.WriteString(dsn)
			return b.String()
		}
		b.WriteString(dsn[:loc[1]])
		secret := isSecretKey(dsn[loc[2]:loc[3]])
		dsn = dsn[loc[1]:]
		n := valueLen(dsn, secret)
		if secret {
			b.WriteString(mask)
		} else {
			b.WriteString(dsn[:n])
		}
		dsn = dsn[n:]
	}
}

// valueLen is how much of s is the value that it begins with: to the closing
// quote or to the end, or for a bare word to the next space. With whole a bare
// value goes on to the next keyword.
func valueLen(s string, whole bool) int {
	if strings.HasPrefix(s, "'") {
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '\'':
				return i + 1
			}
		}
		return len(s)
	}
	if whole {
		if loc := nextKeyword.FindStringIndex(s); loc != nil {
			return loc[0]
		}
		return len(s)
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ' ', '\t', '\n', '\r', '\v', '\f':
			return i
		}
	}
	return len(s)
}
