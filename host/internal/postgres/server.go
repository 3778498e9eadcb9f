package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// StopMode is how a server is asked to stop, as pg_ctl's --mode.
type StopMode syscall.Signal

// The modes of pg_ctl stop.
const (
	Smart     = StopMode(syscall.SIGTERM) // waits for clients
	Fast      = StopMode(syscall.SIGINT)  // disconnects clients; waits until walsenders have sent and seen confirmed everything
	Immediate = StopMode(syscall.SIGQUIT) // crash recovery at the next start
)

// Bounds of waiting where the caller's ctx has none.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	pollInterval = 5 * time.Millisecond
)

// server is a running postmaster.
type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and was reaped
	err  error         // of Wait; read after done
}

// Start starts the server and waits until it accepts connections (with
// hot_standby off: until recovery has begun).
func (c *Cluster) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if c.running() != nil {
		return errors.New("the server is running already")
	}
	var err error
	for range portAttempts {
		if c.opt.TCP && c.port == socketPort {
			if err := c.choosePort(ctx); err != nil {
				return err
			}
		}
		if err = c.start(ctx); err == nil || !c.opt.TCP || !strings.Contains(c.Log(), "Address already in use") {
			return err
		}
		c.port = socketPort // another process took the port: choose again
	}
	return err
}

// choosePort finds a free TCP port.
func (c *Cluster) choosePort(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	return c.writeConf()
}

func (c *Cluster) start(ctx context.Context) error {
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.Tool(context.WithoutCancel(ctx), "postgres", "-D", c.DataDir())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres as %s: %w", c.user.name, err)
	}
	s := &server{cmd: cmd, done: make(chan struct{})}
	c.mu.Lock()
	c.server = s
	c.mu.Unlock()
	watchErr := c.watch.serverIs(cmd.Process.Pid)
	go c.reap(s)
	if err := errors.Join(watchErr, c.awaitReady(ctx, s)); err != nil {
		err = c.withLog(fmt.Errorf("PostgreSQL %d in %s did not start: %w", c.opt.Install.Major(), c.dir, err))
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return errors.Join(err, c.Kill9(stop))
	}
	return nil
}

// reap waits for the process's end.
func (c *Cluster) reap(s *server) {
	s.err = s.cmd.Wait()
	c.mu.Lock()
	if c.server == s {
		c.server = nil
	}
	c.mu.Unlock()
	_ = c.watch.serverIs(0) // fails only when the watchdog is gone, and then it needs no telling
	close(s.done)
}

// awaitReady polls postmaster.pid, whose eighth line is the server's state
// (LOCK_FILE_LINE_PM_STATUS of miscadmin.h).
func (c *Cluster) awaitReady(ctx context.Context, s *server) error {
	pid := strconv.Itoa(s.cmd.Process.Pid)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(filepath.Join(c.DataDir(), "postmaster.pid"))
		if err == nil {
			lines := strings.Split(string(b), "\n")
			// A server that was killed leaves its file: compare the process id.
			if len(lines) >= 8 && strings.TrimSpace(lines[0]) == pid {
				switch strings.TrimSpace(lines[7]) {
				case "ready", "standby":
					return nil
				}
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended with %v", s.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// running is the server, nil if none runs.
func (c *Cluster) running() *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// Running reports whether the server's process lives.
func (c *Cluster) Running() bool { return c.running() != nil }

// Stop stops the server and waits for its end, at most a minute. A server that
// does not run is stopped.
func (c *Cluster) Stop(ctx context.Context, mode StopMode) error {
	s := c.running()
	if s == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.Signal(mode)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server in %s: %w", c.dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return c.withLog(fmt.Errorf("the server in %s has not stopped: %w", c.dir, context.Cause(ctx)))
	}
}

// Kill9 ends the postmaster and all its processes with SIGKILL, as a power
// failure of the machine would without losing what the operating system holds.
func (c *Cluster) Kill9(ctx context.Context) error {
	s := c.running()
	if s == nil {
		return nil
	}
	pids := append([]int{s.cmd.Process.Pid}, children(s.cmd.Process.Pid)...)
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill -9 %d of the server in %s: %w", pid, c.dir, err)
		}
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for _, pid := range pids {
		for running(pid) {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	}
	<-s.done
	return nil
}

// Restart stops the server in mode fast and starts it.
func (c *Cluster) Restart(ctx context.Context) error {
	if err := c.Stop(ctx, Fast); err != nil {
		return err
	}
	return c.Start(ctx)
}
