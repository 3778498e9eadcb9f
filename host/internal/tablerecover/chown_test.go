package tablerecover

import (
	"io/fs"
	"os"
	"syscall"
	"testing"
)

// chownLike gives path to the owner of another file.
func chownLike(t *testing.T, path string, like fs.FileInfo) {
	t.Helper()
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("this system tells no owner of a file")
	}
	if err := os.Chown(path, int(st.Uid), int(st.Gid)); err != nil {
		t.Fatal(err)
	}
}
