package e2e

import (
	"os"
	"os/exec"
	"testing"

	"github.com/walplex/walplex/host/internal/postgres/pgtest"
)

// smallDisk mounts a file system of its own, which takes root.
func smallDisk(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", dir, err, out)
		}
	})
}

func mount(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Fatalf("mount %v: %v (this test needs the right to mount)\n%s", args, err, out)
	}
}

// TestSegmentFileFullDisk: the disk is full under an archive, plain or compressed:
// the host says so and goes on trying, the server keeps what is missing, and all
// goes on by itself once there is room.
func TestSegmentFileFullDisk(t *testing.T) {
	for _, compression := range []string{"none", "lz4"} {
		t.Run(compression, func(t *testing.T) {
			c := server(t)
			d := newDirs(t)
			disk := d.path("disk")
			smallDisk(t, disk, "5m")
			archive := disk + "/archive"
			h := start(t, "run", d.write(archiveAs(archive, `compression = "`+compression+`"`), c.DSN()))
			h.says("caught up", 1)
			// Far more than there is room for, which no compression makes small.
			pgtest.Exec(t, c, "CREATE TABLE noise AS SELECT sha512(h) || sha512(h || '1') || sha512(h || '2') || sha512(h || '3') AS v FROM (SELECT random()::text::bytea AS h FROM generate_series(1, 60000)) x")
			end := flushLSN(t, c)
			h.says("the disk is full: make room", 2)
			if query(t, c, "SELECT restart_lsn < '"+end.String()+"' FROM pg_replication_slots") != "t" {
				t.Error("the server was told that all is safe")
			}
			mount(t, "-o", "remount,size=500m", disk)
			slotReaches(t, c, "walplex", end)
			h.stop()
			if compression == "none" {
				compareArchive(t, c, archive, end)
			}
			start(t, "archive", "verify", archive).wants(0, "the archive is whole")
		})
	}
}

// TestSegmentFileReadOnly: the file system is read-only when the host starts; it
// waits until it is not.
func TestSegmentFileReadOnly(t *testing.T) {
	c := server(t)
	d := newDirs(t)
	disk := d.path("disk")
	smallDisk(t, disk, "100m")
	conf := d.write(archiveAs(disk+"/archive", ""), c.DSN())
	start(t, "run", "--until", "caught-up", conf).wants(0)
	pgtest.Exec(t, c, "CREATE TABLE x AS SELECT generate_series(1, 10000) AS a")
	end := flushLSN(t, c)
	mount(t, "-o", "remount,ro", disk)
	h := start(t, "run", conf)
	h.says("mount the file system writable again", 2)
	mount(t, "-o", "remount,rw", disk)
	slotReaches(t, c, "walplex", end)
	h.stop()
	compareArchive(t, c, disk+"/archive", end)
}
