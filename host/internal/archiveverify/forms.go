package archiveverify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/walplex/walplex/host/internal/archive"
	"github.com/walplex/walplex/sdk/wal"
)

// compareForms holds the other forms of a part's segments against the first.
func (v *verifier) compareForms(ctx context.Context, p *part) {
	for _, s := range p.run.segs[p.first:p.next] {
		for _, f := range s.forms[1:] {
			at, same, err := v.compare(ctx, form{s, s.forms[0], s.partial()}, form{s, f, f.Kind == archive.Partial}, wal.LSN(v.size))
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				v.note(Fault{Kind: KindRead, Timeline: p.run.tli, File: f.Name, LSN: at, Reason: err.Error()})
			case !same:
				v.note(Fault{Kind: KindDuplicate, Timeline: p.run.tli, File: f.Name, LSN: at,
					Reason: fmt.Sprintf("it differs from %s, at %s", s.forms[0].Name, at)})
			}
		}
	}
}

// form is a form of a segment. It may end earlier than another, in zeros or in
// what a recycled segment has kept.
type form struct {
	*segment
	file archive.File
	ends bool
}

// compare compares the first n bytes of two forms of a segment, and answers where
// they differ.
func (v *verifier) compare(ctx context.Context, a, b form, n wal.LSN) (at wal.LSN, same bool, err error) {
	x, err := v.openForm(a.file)
	if err != nil {
		return a.start, false, err
	}
	defer x.Close()
	y, err := v.openForm(b.file)
	if err != nil {
		return a.start, false, err
	}
	defer y.Close()
	var xb, yb [4 * wal.PageSize]byte
	var xe, ye ending // of the partial ones
	for off := wal.LSN(0); off < n; off += wal.LSN(len(xb)) {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		m := min(len(xb), int(n-off))
		err1 := fill(x, xb[:m], a.file.Kind == archive.Partial)
		err2 := fill(y, yb[:m], b.file.Kind == archive.Partial)
		if err := errors.Join(err1, err2); err != nil {
			return a.start + off, false, err
		}
		xp, yp := xb[:m], yb[:m]
		if d := differ(xp, yp); d < m && xe.at == 0 && ye.at == 0 {
			at := a.start + off + wal.LSN(d)
			xe.at, ye.at = at, at
			xe.no, ye.no = !a.ends, !b.ends
		}
		if xe.at != 0 {
			xe.take(v, a.start+off, xp)
			ye.take(v, a.start+off, yp)
			if xe.no && ye.no {
				return xe.at, false, nil
			}
		}
	}
	return 0, true, nil
}

// fill reads all of b; what is missing of a partial file is zeros.
func fill(r io.Reader, b []byte, partial bool) error {
	n, err := io.ReadFull(r, b)
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !partial {
		return errors.New("it ends before the segment does")
	}
	clear(b[n:])
	return nil
}

// differ is the first place at which x and y differ.
func differ(x, y []byte) int {
	if bytes.Equal(x, y) {
		return len(x)
	}
	for i := range x {
		if x[i] != y[i] {
			return i
		}
	}
	return len(x)
}

// ending sees whether nothing but the end of the WAL follows a place in a file.
type ending struct {
	at wal.LSN // the place, 0 none yet
	no bool    // something follows
}

func (e *ending) take(v *verifier, pos wal.LSN, b []byte) {
	w := walker{v: v}
	for len(b) > 0 && !e.no {
		one := b[:min(len(b), wal.PageSize)]
		switch {
		case e.at >= pos+wal.LSN(len(one)):
		case e.at > pos:
			e.no = !zero(one[e.at-pos:])
		default:
			e.no = !w.old(pos, one)
		}
		pos, b = pos+wal.LSN(len(one)), b[len(one):]
	}
}
