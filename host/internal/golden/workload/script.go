package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/walplex/walplex/host/internal/postgres"
)

// play runs the script.
func (r *runner) play(ctx context.Context, script string) error {
	var statement strings.Builder
	skipping, quoted, n := false, false, 0
	for line := range strings.Lines(script) {
		n++
		line = strings.TrimRight(line, "\n")
		var err error
		switch {
		case line == `\end`:
			skipping = false
		case skipping || statement.Len() == 0 && (line == "" || strings.HasPrefix(line, "--")):
		case strings.HasPrefix(line, `\`):
			skipping, err = r.directive(ctx, strings.Fields(line[1:]))
		default:
			statement.WriteString(line + "\n")
			quoted = quoted != (strings.Count(line, "$$")%2 == 1)
			if !quoted && strings.HasSuffix(line, ";") {
				err = r.exec(ctx, statement.String())
				statement.Reset()
			}
		}
		if err != nil {
			return fmt.Errorf("workload.sql:%d: %s: %w", n, line, err)
		}
	}
	if statement.Len() > 0 || skipping {
		return errors.New("workload.sql ends within a statement or a condition")
	}
	return nil
}

// directive runs one, and reports whether the lines up to \end are to be skipped.
func (r *runner) directive(ctx context.Context, words []string) (skip bool, err error) {
	args := words[1:]
	switch words[0] {
	case "since", "before":
		major, err := strconv.Atoi(args[0])
		return (r.c.Install().Major() < major) == (words[0] == "since"), err
	case "when":
		out, err := r.c.QueryString(ctx, "SELECT coalesce('"+args[0]+"' = ANY (enumvals), false) FROM pg_settings WHERE name = 'wal_compression'")
		return out != "t", err
	case "session":
		r.session = args[0]
		return false, r.connect(ctx, args[1:]...)
	case "close":
		r.session = mainSession
		return false, r.close(ctx, args[0])
	case "begin":
		return false, r.begin(ctx)
	case "conf":
		return false, errors.Join(r.configure(args), r.c.Reload(ctx))
	case "restart":
		return false, r.restart(ctx, postgres.Fast, func() error { return r.configure(args) })
	case "crash":
		return false, r.restart(ctx, postgres.Immediate, nil)
	case "overwrite":
		return false, r.overwrite(ctx)
	case "promote":
		return false, r.promote(ctx)
	}
	return false, fmt.Errorf("no directive \\%s", words[0])
}

func (r *runner) configure(settings []string) error {
	conf := map[string]string{}
	for _, s := range settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%s is not NAME=VALUE", s)
		}
		conf[name] = value
	}
	return r.c.SetConf(conf)
}
