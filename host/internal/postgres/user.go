package postgres

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// serverUser is the operating system's user that PostgreSQL's programs run as.
type serverUser struct {
	name string
	cred *syscall.Credential // nil: as ourselves
}

// findServerUser picks the user: ourselves unless we are root, then postgres or nobody.
func findServerUser() (serverUser, error) {
	if os.Geteuid() != 0 {
		return serverUser{name: "uid " + strconv.Itoa(os.Geteuid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 != nil || err2 != nil || uid == 0 {
			continue
		}
		return serverUser{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return serverUser{}, fmt.Errorf("PostgreSQL does not run as root, and this system has neither a user postgres nor a user nobody: " +
		"create one with 'useradd --system postgres', or run as another user than root")
}

// own gives the file to the server's user.
func (u serverUser) own(path string) error {
	if u.cred == nil {
		return nil
	}
	return os.Chown(path, int(u.cred.Uid), int(u.cred.Gid))
}

// writeFile makes a file that only the server's user can read.
func (u serverUser) writeFile(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	return u.own(path)
}
