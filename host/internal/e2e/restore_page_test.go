package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/host/internal/postgres"
)

var fenced = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// TestRestorePage runs every command of the page on restoring, in its order, with
// the page's configuration; only the directories are others.
func TestRestorePage(t *testing.T) {
	page, err := os.ReadFile("../../../plugins/segmentfile/RESTORE.md")
	if err != nil {
		t.Fatal(err)
	}
	c := server(t)
	initPgbench(t, c)
	root := archiveDir(t, c, "page")
	text := strings.NewReplacer("/var/lib/walplex", root, "/var/lib/postgresql", root).Replace(string(page))
	for _, dir := range []string{"archive", "backups"} {
		if err := shell(t.Context(), c, `mkdir "$2"`, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(script string) {
		t.Helper()
		cmd := asServer(t, c, "-euc", script)
		cmd.Path, cmd.Args[0], cmd.Dir = "/bin/sh", "sh", root
		log, err := os.Create(filepath.Join(t.TempDir(), "log")) // not a pipe, which a server that stays would hold
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		path := []string{filepath.Dir(program), os.Getenv("PATH")}
		for _, name := range []string{"pg_ctl", "pg_verifybackup"} {
			path = append(path, filepath.Dir(c.Tool(t.Context(), name).Path))
		}
		cmd.Env = append(cmd.Env, "PATH="+strings.Join(path, ":"))
		if err := cmd.Run(); err != nil {
			out, _ := os.ReadFile(log.Name())
			t.Fatalf("%v in\n%s\n%s", err, script, out)
		}
	}
	var scripts []string
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		switch m[1] {
		case "hcl":
			if err := os.WriteFile(filepath.Join(root, "walplex.hcl"), []byte(m[2]), 0o644); err != nil {
				t.Fatal(err)
			}
		case "sh":
			scripts = append(scripts, m[2])
		default:
			t.Errorf("a block of %s is neither run nor a part of a configuration", m[1])
		}
	}
	if len(scripts) != 3 {
		t.Fatalf("the page has %d blocks of commands", len(scripts))
	}
	t.Setenv("WALPLEX_DSN", c.DSN())
	h := start(t, "run", filepath.Join(root, "walplex.hcl"))
	h.says("caught up", 1)
	run(scripts[0])
	load(t, c, 1)()
	want := pgbenchTables(t, c)
	slotReaches(t, c, "walplex", flushLSN(t, c))
	h.stop()
	run(scripts[1])
	// The restored server has the old one's socket.
	if err := c.Stop(t.Context(), postgres.Immediate); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(root, "restored")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if out, err := c.Tool(ctx, "pg_ctl", "stop", "--wait", "-m", "immediate", "-D", restored).CombinedOutput(); err != nil {
			t.Errorf("stop the restored server: %v\n%s", err, out)
		}
	})
	run(scripts[2])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitFor(ctx, "SELECT pg_is_in_recovery()", "f"); err != nil {
		t.Fatal(err)
	}
	if got := pgbenchTables(t, c); got != want {
		t.Errorf("the tables are %s, want %s", got, want)
	}
	amcheck(t, c)
}
