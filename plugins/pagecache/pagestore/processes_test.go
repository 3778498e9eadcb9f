package pagestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/waltest"
)

const holderEnv = "PAGESTORE_TEST_HOLD"

// TestMain makes the test binary the other process of TestTwoProcesses when it is
// told a directory.
func TestMain(m *testing.M) {
	dir := os.Getenv(holderEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := hold(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// hold stores a page, says so, and keeps the store open until it is killed.
func hold(dir string) error {
	s, err := Open(context.Background(), dir, Options{})
	if err != nil {
		return err
	}
	w := onePage()
	s.Begin(waltest.DefaultSystemID, 1, wal.MinSegmentSize, w.Options().Start)
	a := w.Records()[0]
	rec := wal.Record{StartLSN: a.Start, EndLSN: a.End, Version: w.Options().Version, Data: a.Raw}
	if err := errors.Join(rec.Decode(a.Raw), s.Append(&rec), s.Commit(context.Background(), Progress{Position: a.End, LastValid: a.End})); err != nil {
		return err
	}
	fmt.Println("held")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

func TestTwoProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), holderEnv+"="+dir)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "held" {
	}
	if lines.Text() != "held" {
		t.Fatalf("the other process did not open the store: %v", lines.Err())
	}
	_, err = Open(t.Context(), dir, Options{LockWait: 10 * time.Millisecond})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "could not be locked within 10ms") {
		t.Fatalf("got %v", err)
	}
	opened := make(chan error, 1)
	var s *Store
	go func() {
		var err error
		s, err = Open(t.Context(), dir, Options{LockWait: time.Minute})
		opened <- err
	}()
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // killed
	if got := s.State().Position; got != onePage().End() {
		t.Fatalf("position %s, want %s", got, onePage().End())
	}
	closeTest(t, s)
}
