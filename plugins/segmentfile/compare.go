package segmentfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	"github.com/walplex/walplex/sdk"
	"github.com/walplex/walplex/sdk/wal"
)

// comparison is what a finished segment has in common with another file of its
// name.
type comparison struct {
	differs bool
	at      int64 // offset of the first byte that differs
	padding bool  // all bytes of the other one from at on are zeros
}

// removeTwin removes the file other, which holds a segment that file holds as a
// finished one too, as power loss leaves it in the middle of finishing or of
// compressing. A partial segment may be incomplete and padded with zeros.
func (d *directory) removeTwin(ctx context.Context, r *run, file, other string) error {
	if err := d.mustEqual(ctx, r, file, other, trimPartial(other) != other); err != nil {
		return err
	}
	return explain(d.fs.Remove(d.join(other)), "remove the second file of a finished segment")
}

// removeTwins removes other, which holds a part of a segment that is finished.
func (d *directory) removeTwins(ctx context.Context, r *run, l listing, segment, other string) error {
	for _, e := range l.entries {
		if e.segment == segment && e.kind < partial {
			return d.removeTwin(ctx, r, e.file, other)
		}
	}
	return nil
}

// mustEqual compares the file of a finished segment with another of its name,
// which may be incomplete and padded with zeros if prefix is set.
func (d *directory) mustEqual(ctx context.Context, r *run, file, other string, prefix bool) error {
	c, err := d.compare(ctx, file, other)
	if err != nil {
		return explain(err, "compare segment "+file+" with "+other)
	}
	if !c.differs || prefix && c.padding {
		return nil
	}
	_, no, err := r.size.ParseFileName(file[:wal.SegmentNameLen])
	if err != nil {
		return err
	}
	sum, errSum := d.sum(ctx, file)
	sumOther, errOther := d.sum(ctx, other)
	if err := errors.Join(errSum, errOther); err != nil {
		return err
	}
	return sdk.Permanentf("finished segment %s (SHA-256 %x) has other bytes than %s (SHA-256 %x), from LSN %s on: a finished segment is never replaced: "+
		"the server has taken another history under the same name, or another program wrote the file; keep the right one and move the other out of the directory",
		d.join(file), sum, d.join(other), sumOther, r.size.LSN(no)+wal.LSN(c.at))
}

// sum is the SHA-256 of a file's content.
func (d *directory) sum(ctx context.Context, file string) ([]byte, error) {
	h := sha256.New()
	err := d.each(ctx, file, 2*wal.MaxSegmentSize, func(p []byte) error {
		h.Write(p)
		return nil
	})
	return h.Sum(nil), err
}

func (d *directory) compare(ctx context.Context, file, other string) (c comparison, err error) {
	a, err := d.openFile(file)
	if err != nil {
		return c, err
	}
	defer a.Close()
	b, err := d.openFile(other)
	if err != nil {
		return c, err
	}
	defer b.Close()
	bufA, bufB := make([]byte, readSize), make([]byte, readSize)
	for off := int64(0); ; off += readSize {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		na, errA := d.read(a, bufA)
		nb, errB := d.read(b, bufB)
		if err := errors.Join(errA, errB); err != nil {
			return c, err
		}
		if na == 0 && nb == 0 {
			return c, nil
		}
		c.add(off, bufA[:na], bufB[:nb])
	}
}

// add compares the pieces at off. A file that has ended differs from one that
// goes on; as a prefix it is padded by nothing.
func (c *comparison) add(off int64, finished, other []byte) {
	if !c.differs {
		same := commonPrefix(finished, other)
		if same == len(finished) && same == len(other) {
			return
		}
		c.differs, c.at, c.padding = true, off+int64(same), true
		other = other[same:]
	}
	c.padding = c.padding && bytes.Count(other, []byte{0}) == len(other)
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
