package segmentfile

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/durable"
	"github.com/walplex/walplex/sdk/wal"
)

// castagnoli is never written to.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// comparison is what a finished segment and a partial one under the same name
// have in common.
type comparison struct {
	differs  bool
	at       int64 // offset of the first byte that differs
	padding  bool  // all bytes of the partial one from at on are zeros
	finished uint32
	partial  uint32 // CRC-32C of either file
}

// removeTwin removes the partial segment no, which is there as a finished one
// too, as power loss in the middle of finishing leaves it.
func (d *directory) removeTwin(ctx context.Context, r *run, no wal.SegNo) error {
	name := r.name(no)
	if err := d.mustEqual(ctx, r, name, true); err != nil {
		return err
	}
	return explain(d.fs.Remove(d.join(name+wal.PartialSuffix)), "remove the second name of a finished segment")
}

// mustEqual compares a finished segment with the partial one of its name, which
// may be incomplete and padded with zeros if prefix is set.
func (d *directory) mustEqual(ctx context.Context, r *run, name string, prefix bool) error {
	c, err := d.compare(ctx, name)
	if err != nil {
		return explain(err, "compare segment "+name+" with what was received of it")
	}
	if !c.differs || prefix && c.padding {
		return nil
	}
	_, no, err := r.size.ParseFileName(name)
	if err != nil {
		return err
	}
	return sdk.Permanentf("finished segment %s (CRC-32C %08X) has other bytes than %s%s (CRC-32C %08X), from LSN %s on: a finished segment is never replaced: "+
		"the server has taken another history under the same name, or another program wrote the file; keep the right one and move the other out of the directory",
		d.join(name), c.finished, d.join(name), wal.PartialSuffix, c.partial, r.size.LSN(no)+wal.LSN(c.at))
}

func (d *directory) compare(ctx context.Context, name string) (c comparison, err error) {
	a, err := d.fs.OpenFile(d.join(name), os.O_RDONLY, 0)
	if err != nil {
		return c, err
	}
	defer a.Close()
	b, err := d.fs.OpenFile(d.join(name+wal.PartialSuffix), os.O_RDONLY, 0)
	if err != nil {
		return c, err
	}
	defer b.Close()
	bufA, bufB := make([]byte, readSize), make([]byte, readSize)
	for off := int64(0); ; off += readSize {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		pa, errA := readUpTo(a, bufA, off)
		pb, errB := readUpTo(b, bufB, off)
		if err := errors.Join(errA, errB); err != nil {
			return c, err
		}
		if len(pa) == 0 && len(pb) == 0 {
			return c, nil
		}
		c.add(off, pa, pb)
	}
}

// readUpTo reads what there is of the file at off, as far as it fits.
func readUpTo(f durable.File, buf []byte, off int64) ([]byte, error) {
	n, err := f.ReadAt(buf, off)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// add compares the pieces at off. A file that has ended differs from one that
// goes on; as a prefix it is padded by nothing.
func (c *comparison) add(off int64, finished, partial []byte) {
	c.finished = crc32.Update(c.finished, castagnoli, finished)
	c.partial = crc32.Update(c.partial, castagnoli, partial)
	if !c.differs {
		same := commonPrefix(finished, partial)
		if same == len(finished) && same == len(partial) {
			return
		}
		c.differs, c.at, c.padding = true, off+int64(same), true
		partial = partial[same:]
	}
	c.padding = c.padding && bytes.Count(partial, []byte{0}) == len(partial)
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		return n
	}
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
