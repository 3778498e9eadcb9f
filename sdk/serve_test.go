package sdk

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// actEnv makes this test binary a program that serves a sink.
const actEnv = "SDK_TEST_ACT"

func TestMain(m *testing.M) {
	switch os.Getenv(actEnv) {
	case "sink":
		Serve(defined(RawWAL()))
	case "mistake":
		Serve(Define("mistaken", func(*struct {
			A uint `walplex:"a"`
		}) Sink {
			return nil
		}, RawWAL()))
	}
	os.Exit(m.Run())
}

// Started by hand, or with a mistake of its author's, a sink says what it is and
// prints nothing to standard output.
func TestServeByHand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for act, want := range map[string][]string{
		"sink":    {`This program is the walplex sink "test"`, `plugin "test" { path = … }`, `sink "test" in a stream`},
		"mistake": {"sink mistaken: ", ".A: a configuration cannot hold uint"},
	} {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), actEnv+"="+act)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(out) > 0 {
			t.Errorf("%s: %v, standard output %q", act, err, out)
		}
		for _, text := range want {
			if !strings.Contains(said.String(), text) {
				t.Errorf("%s says %q, not %q", act, said.String(), text)
			}
		}
	}
}
