package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// The position file, see the package documentation.
const (
	positionName    = "position.json"
	positionVersion = 1
	slots           = 2
	slotSize        = 4096 // bytes: two slots never share a sector
)

const crcKey = `,"crc32c":"`

// position is what a slot says.
type position struct {
	Version  int            `json:"walplex_audit_position"`
	Seq      uint64         `json:"seq"`
	SystemID uint64         `json:"system_id,string"`
	Timeline wal.TimelineID `json:"timeline"`
	LSN      wal.LSN        `json:"lsn"`
	File     string         `json:"file"`   // "" before the first record
	Offset   int64          `json:"offset"` // bytes of File that are durable
}

// appendPosition appends p's line, padded to a slot.
func appendPosition(b []byte, p *position) []byte {
	start := len(b)
	b = strconv.AppendInt(append(b, `{"walplex_audit_position":`...), positionVersion, 10)
	b = strconv.AppendUint(append(b, `,"seq":`...), p.Seq, 10)
	b = strconv.AppendUint(append(b, `,"system_id":"`...), p.SystemID, 10)
	b = appendNumber(append(b, `","timeline":`...), uint32(p.Timeline))
	b = appendLSN(append(b, `,"lsn":"`...), p.LSN)
	b = appendString(append(b, `","file":`...), p.File)
	b = strconv.AppendInt(append(b, `,"offset":`...), p.Offset, 10)
	b = fmt.Appendf(b, `%s%08x"}`, crcKey, checksum(b[start:]))
	for len(b)-start < slotSize-1 {
		b = append(b, ' ')
	}
	return append(b, '\n')
}

// checksum is the CRC-32C of a slot's line up to crcKey.
func checksum(body []byte) uint32 {
	return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
}

// errTorn is a slot whose checksum does not hold.
var errTorn = errors.New("the slot was not written in full")

// parseSlot reads a slot. A torn one is errTorn; one of a newer version is a
// permanent error, whatever else it has.
func parseSlot(b []byte) (position, error) {
	line := bytes.TrimRight(b, " \n\x00")
	body, sum, ok := bytes.Cut(line, []byte(crcKey))
	if !ok || !bytes.HasSuffix(sum, []byte(`"}`)) {
		return position{}, errTorn
	}
	want, err := strconv.ParseUint(string(sum[:len(sum)-2]), 16, 32)
	if err != nil || uint32(want) != checksum(body) {
		return position{}, errTorn
	}
	var v struct {
		Version int `json:"walplex_audit_position"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return position{}, errTorn
	}
	if v.Version != positionVersion {
		return position{}, sdk.Permanentf("its format is version %d, and this walplex knows version %d: use the walplex that wrote it, or a newer one",
			v.Version, positionVersion)
	}
	var p position
	if err := json.Unmarshal(line, &p); err != nil {
		return position{}, sdk.Permanent(err)
	}
	if _, err := parseFileName(p.File); p.File != "" && err != nil || p.Offset < 0 {
		return position{}, sdk.Permanentf("it names byte %d of the file %q: no walplex writes that", p.Offset, p.File)
	}
	return p, nil
}

// readPosition reads the position beside the files in dir. found is false where
// there is none, or one whose first writing was cut short.
func readPosition(fsys durable.FS, dir string) (p position, found bool, err error) {
	f, err := fsys.OpenFile(filepath.Join(dir, positionName), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return position{}, false, nil
	}
	if err != nil {
		return position{}, false, err
	}
	defer f.Close()
	buf := make([]byte, slots*slotSize)
	n, err := io.ReadFull(f, buf)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return position{}, false, err
	}
	for at := 0; at < n; at += slotSize {
		q, err := parseSlot(buf[at:min(at+slotSize, n)])
		if err == errTorn {
			continue
		}
		if err != nil {
			return position{}, false, fmt.Errorf("%s: %w", filepath.Join(dir, positionName), err)
		}
		if !found || q.Seq > p.Seq {
			p, found = q, true
		}
	}
	return p, found, nil
}

// positionFile is the open position file of a sink.
type positionFile struct {
	f   durable.File
	buf []byte
	p   position // the durable one
}

// createPosition makes the position file with its first slot, durably: the
// directory is the sink's from then on.
func createPosition(fsys durable.FS, dir string, p position) (*positionFile, error) {
	f, err := fsys.OpenFile(filepath.Join(dir, positionName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, err
	}
	pf := &positionFile{f: f, p: p}
	// The other slot is blank, and its room taken: later writes need none.
	blank := bytes.Repeat([]byte{' '}, slots*slotSize)
	if _, err := f.WriteAt(blank, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := fsys.SyncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := pf.save(p); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return pf, nil
}

// openPosition opens the position file that p was read from, and makes p
// durable: a process that was killed may have left a slot that is not on disk.
// The slot is written again, as it is, because the kernel forgets what an fsync
// failed to write. Torn by a crash here, it leaves the slot before it, which is
// durable if this one was not.
func openPosition(fsys durable.FS, dir string, p position) (*positionFile, error) {
	f, err := fsys.OpenFile(filepath.Join(dir, positionName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	pf := &positionFile{f: f, p: p}
	if err := pf.put(p); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return pf, nil
}

// save writes p durably into the slot that does not hold the durable position.
func (pf *positionFile) save(p position) error {
	p.Seq = pf.p.Seq + 1
	if err := pf.put(p); err != nil {
		return err
	}
	pf.p = p
	return nil
}

func (pf *positionFile) put(p position) error {
	pf.buf = appendPosition(pf.buf[:0], &p)
	if _, err := pf.f.WriteAt(pf.buf, int64(p.Seq%slots)*slotSize); err != nil {
		return err
	}
	return pf.f.SyncData()
}
