package control

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMayControl(t *testing.T) {
	for _, c := range []struct {
		peer uint32
		own  int
		want bool
	}{{0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {0, 0, true}, {^uint32(0), 1000, false}} {
		if got := mayControl(c.peer, c.own); got != c.want {
			t.Errorf("user %d at a host of user %d: %t", c.peer, c.own, got)
		}
	}
}

// TestCredentials: the kernel tells who has connected.
func TestCredentials(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	for _, conn := range []net.Conn{c, served} {
		cred, err := credentials(conn)
		if err != nil || int(cred.Pid) != os.Getpid() || int(cred.Uid) != os.Geteuid() || !allowed(conn) {
			t.Errorf("%+v, %v", cred, err)
		}
	}
}

// nobody is a user that is neither root nor we.
const nobody = 65534

// TestAnotherUser: even through a socket that somebody has opened to all, another
// user's connection is closed, and the next of ours is served. Only root can be
// another user, so for others there is TestMayControl.
func TestAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	dir, err := os.MkdirTemp("/tmp", "walplex-control-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := listen(t.Context(), filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "s"): 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	// An intruder first, then ourselves: the one connection that is accepted is ours.
	// The kernel takes the user of the thread that connects.
	intruder := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), nobody, ^uintptr(0)); e != 0 {
			intruder <- e
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "s")})
		}
		intruder <- err
	}()
	if err := <-intruder; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	served, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	if cred, err := credentials(served); err != nil || cred.Uid != 0 {
		t.Fatalf("served is %+v (%v)", cred, err)
	}
}
