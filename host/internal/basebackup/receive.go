package basebackup

import (
	"archive/tar"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"

	"github.com/walplex/walplex/host/internal/replication"
)

// Source is a base backup that comes in; [replication.BaseBackup] is one, and its
// methods say what these do.
type Source interface {
	Start() replication.BackupPosition
	End() replication.BackupPosition
	Tablespaces() []replication.BackupTablespace
	Next() (replication.BackupPart, error)
	io.Reader
}

// Receiver takes a backup's files, from one goroutine. Names are relative to the
// data directory, with slashes, and never lead out of it; a tablespace's files are
// below pg_tblspc/OID. Any error ends the backup and is passed on.
type Receiver interface {
	Directory(name string, mode fs.FileMode) error
	// Link is a tablespace's link, of the data directory: target is the tablespace's
	// place on the server.
	Link(name, target string) error
	// File begins a file of size bytes. Data follows, none where size is 0, then End.
	File(name string, size int64, mode fs.FileMode) error
	// Data is the file's next bytes, borrowed until it returns.
	Data(p []byte) error
	End() error
	// Manifest comes last, when every file has been held against it.
	Manifest(data []byte) error
}

// Archiver is a Receiver that takes the tar archives too, as the server sends
// them. What it answers is closed when the archive has ended well.
type Archiver interface {
	Archive(part replication.BackupPart) (io.WriteCloser, error)
}

// Received is a backup that was received and verified.
type Received struct {
	Files            int
	Bytes            int64 // of all files
	Label            []byte
	Manifest         *Manifest
	ManifestChecksum string // SHA-256 in hexadecimal, of the manifest but for its last line
}

// maxLabel bounds what is kept of backup_label, maxManifest the manifest: some 150
// bytes a file. Bytes.
const (
	maxLabel    = 64 << 10
	maxManifest = 2 << 30
)

// receiver is the state of Receive.
type receiver struct {
	src   Source
	to    Receiver
	newer func() hash.Hash
	known map[string]received
	links map[string]string // a tablespace's link: its place on the server
	out   Received
	buf   []byte
}

// received is what came of a file.
type received struct {
	size int64
	sum  string // bytes of the checksum
}

// Receive takes a backup apart, gives its files to a Receiver and verifies it.
// checksums is the algorithm that was asked for. systemID is the server's, as it
// has answered; 0 unknown.
func Receive(src Source, to Receiver, checksums string, systemID uint64) (*Received, error) {
	newHash, err := checksum(checksums)
	if err != nil {
		return nil, err
	}
	r := &receiver{src: src, to: to, newer: newHash, known: map[string]received{}, links: map[string]string{}, buf: make([]byte, 256<<10)}
	for _, t := range src.Tablespaces() {
		if t.OID != 0 {
			r.links[tablespaceLink(t.OID)] = t.Location
		}
	}
	for {
		part, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && part.Manifest {
			err = r.manifest()
		} else if err == nil {
			err = r.archive(part)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.out.Manifest == nil {
		return nil, errors.New("the server has sent no manifest")
	}
	if err := r.out.Manifest.checkWAL(src.Start(), src.End(), systemID); err != nil {
		return nil, err
	}
	return &r.out, nil
}

func tablespaceLink(oid uint32) string { return "pg_tblspc/" + strconv.FormatUint(uint64(oid), 10) }

// archive takes an archive apart.
func (r *receiver) archive(part replication.BackupPart) (err error) {
	var from io.Reader = r.src
	var raw io.WriteCloser
	if a, ok := r.to.(Archiver); ok {
		if raw, err = a.Archive(part); err != nil {
			return err
		}
		from = io.TeeReader(r.src, raw)
	}
	root := ""
	if part.Tablespace.OID != 0 {
		root = tablespaceLink(part.Tablespace.OID)
	}
	for t := tar.NewReader(from); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.entry(root, h, t)
		}
		if err != nil {
			return inArchive(part, err)
		}
	}
	// The rest are zeros that fill the archive up.
	if _, err := io.Copy(io.Discard, from); err != nil {
		return inArchive(part, err)
	}
	if raw != nil {
		return raw.Close()
	}
	return nil
}

// inArchive names the archive in an error of its form; others say all themselves.
func inArchive(part replication.BackupPart, err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s, which the server sends, is damaged: %w", part.Name, err)
	}
	return err
}

// entry takes one entry of an archive.
func (r *receiver) entry(root string, h *tar.Header, data io.Reader) error {
	name := path.Join(root, h.Name) // without the slash that ends directories and links
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(filepath.FromSlash(path.Clean(h.Name))) {
		return fmt.Errorf("the server sends a file %q, which would lie outside of the backup", h.Name)
	}
	mode := fs.FileMode(h.Mode) & fs.ModePerm
	switch h.Typeflag {
	case tar.TypeDir:
		return r.to.Directory(name, mode)
	case tar.TypeSymlink:
		if place, ok := r.links[name]; !ok || place != h.Linkname {
			return fmt.Errorf("the server sends a link %q to %q, which is no tablespace of the backup", h.Name, h.Linkname)
		}
		return r.to.Link(name, h.Linkname)
	case tar.TypeReg:
		return r.file(name, h.Size, mode, data)
	}
	return fmt.Errorf("the server sends a file %q of the unknown type %q", h.Name, h.Typeflag)
}

// file passes a file on and remembers its checksum.
func (r *receiver) file(name string, size int64, mode fs.FileMode, data io.Reader) error {
	if _, twice := r.known[name]; twice {
		return fmt.Errorf("the server sends the file %q twice", name)
	}
	if err := r.to.File(name, size, mode); err != nil {
		return err
	}
	sum := r.newer()
	for {
		n, err := data.Read(r.buf)
		sum.Write(r.buf[:n])
		if name == labelFile && len(r.out.Label)+n <= maxLabel {
			r.out.Label = append(r.out.Label, r.buf[:n]...)
		}
		if n > 0 {
			if err := r.to.Data(r.buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	r.known[name] = received{size, string(sum.Sum(nil))}
	r.out.Files++
	r.out.Bytes += size
	return r.to.End()
}

// labelFile is the file that tells a server that it is a backup.
const labelFile = "backup_label"

// manifest reads the manifest and holds every file against it.
func (r *receiver) manifest() error {
	data, err := io.ReadAll(io.LimitReader(r.src, maxManifest+1))
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		return fmt.Errorf("the manifest has more than %d bytes", maxManifest)
	}
	if r.out.Manifest, r.out.ManifestChecksum, err = parseManifest(data); err != nil {
		return err
	}
	if err := r.out.Manifest.check(r.known); err != nil {
		return err
	}
	return r.to.Manifest(data)
}
