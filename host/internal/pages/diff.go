package pages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/walplex/walplex/sdk/pageclient"
	"github.com/walplex/walplex/sdk/wal"
)

// Diff writes what changed on a page from one LSN to another.
func Diff(ctx context.Context, w io.Writer, c *pageclient.Client, name pageclient.PageName, from, to pageclient.AsOf) error {
	var images [2][]byte
	var at [2]wal.LSN
	// The later one first: it may have to be waited for, and so cannot be before.
	for i, as := range []pageclient.AsOf{to, from} {
		res, err := c.Page(ctx, pageclient.PageRequest{Rel: name.Rel, Fork: name.Fork, Block: name.Block, LSN: as.LSN, Wait: as.Wait})
		if err != nil {
			return fmt.Errorf("as of %s: %w", as.LSN, err)
		}
		if len(res.GetImage().GetPage()) != wal.BlockSize {
			return fmt.Errorf("as of %s: a page of %d bytes, want %d", as.LSN, len(res.GetImage().GetPage()), wal.BlockSize)
		}
		images[1-i], at[1-i] = res.Image.Page, wal.LSN(res.Lsn)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, block %d: from %s to %s\n", Fork{name.Rel, name.Fork}, name.Block, at[0], at[1])
	diffPages(&b, images[0], images[1], name.Fork, name.Block)
	_, err := io.WriteString(w, b.String())
	return err
}

// diffPages writes how page y differs from page x.
func diffPages(b *strings.Builder, x, y []byte, fork wal.ForkNumber, block wal.BlockNumber) {
	if bytes.Equal(x, y) {
		fmt.Fprintf(b, "no difference\n")
		return
	}
	kinds := [2]Kind{KindOf(x, fork, block), KindOf(y, fork, block)}
	if kinds[0] != kinds[1] {
		fmt.Fprintf(b, "page: %s → %s\n", kinds[0], kinds[1])
	}
	diffFields(b, "", headerText(x), headerText(y))
	switch kinds[1] {
	case VisibilityMap:
		diffMap(b, x, y, block)
		return
	case FreeSpaceMap:
		diffBytes(b, "  content", x[headerSize:], y[headerSize:])
		return
	}
	tuples := kinds[1] == Heap || kinds[1] == Sequence || kinds[1] == Empty && kinds[0] == Heap
	for n := 1; n <= max(items(x), items(y)); n++ {
		diffItem(b, x, y, n, tuples)
	}
	if sx, sy := special(x), special(y); !bytes.Equal(sx, sy) {
		fmt.Fprintf(b, "special space\n")
		diffBytes(b, "  byte", sx, sy)
	}
}

// diffFields writes the fields that differ; both are the same ones.
func diffFields(b *strings.Builder, indent string, x, y []field) {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			fmt.Fprintf(b, "%s%-20s %s → %s\n", indent, x[i].name, x[i].value, y[i].value)
		}
	}
}

// diffItem writes how line pointer n and its tuple differ.
func diffItem(b *strings.Builder, x, y []byte, n int, tuples bool) {
	was, is := "none", "none"
	var tx, ty []byte
	var ix, iy item
	if n <= items(x) {
		ix = itemOf(x, n)
		was, tx = ix.String(), itemBytes(x, ix)
	}
	if n <= items(y) {
		iy = itemOf(y, n)
		is, ty = iy.String(), itemBytes(y, iy)
	}
	same := bytes.Equal(tx, ty)
	switch {
	case was == is && same:
		return
	case was == is:
		fmt.Fprintf(b, "line pointer %d: %s\n", n, is)
	case same && ix.flags == iy.flags && tx != nil:
		fmt.Fprintf(b, "line pointer %d: moved from byte %d to %d\n", n, ix.offset, iy.offset)
		return
	default:
		fmt.Fprintf(b, "line pointer %d: %s → %s\n", n, was, is)
	}
	switch {
	case same:
	case ty == nil:
		fmt.Fprintf(b, "  - %s\n", hexText(tx))
	case tuples && len(ty) >= tupleHeader && len(tx) >= tupleHeader:
		diffTuples(b, tx, ty)
	case tuples && len(ty) >= tupleHeader:
		for _, f := range tupleText(ty) {
			fmt.Fprintf(b, "  + %-18s %s\n", f.name, f.value)
		}
	case tx == nil:
		fmt.Fprintf(b, "  + %s\n", hexText(ty))
	default:
		diffBytes(b, "  byte", tx, ty)
	}
}

// diffTuples writes how two heap tuples differ.
func diffTuples(b *strings.Builder, x, y []byte) {
	fx, fy := tupleText(x), tupleText(y)
	last := len(fx) - 1 // the data
	if len(fx) != len(fy) {
		last = min(last, len(fy)-1)
	}
	diffFields(b, "  ", fx[:last], fy[:last])
	hx, hy := min(int(x[22]), len(x)), min(int(y[22]), len(y))
	diffBytes(b, "  data byte", x[hx:], y[hy:])
}

// maxRuns is how many places are written in which bytes differ.
const maxRuns = 16

// diffBytes writes the places in which bytes differ, with what lies there.
func diffBytes(b *strings.Builder, what string, x, y []byte) {
	runs := 0
	n := min(len(x), len(y))
	for i := 0; i < n; {
		if x[i] == y[i] {
			i++
			continue
		}
		end := i + 1
		for gap := 0; end < n && gap < 4; end++ { // short ones that are equal do not end a place
			if x[end] == y[end] {
				gap++
			} else {
				gap = 0
			}
		}
		for end > i && x[end-1] == y[end-1] {
			end--
		}
		if runs++; runs > maxRuns {
			fmt.Fprintf(b, "%s: and more\n", what)
			return
		}
		fmt.Fprintf(b, "%s %d: %s → %s\n", what, i, hexText(x[i:end]), hexText(y[i:end]))
		i = end
	}
	if len(x) > n {
		fmt.Fprintf(b, "%s %d: %s → nothing\n", what, n, hexText(x[n:]))
	}
	if len(y) > n {
		fmt.Fprintf(b, "%s %d: nothing → %s\n", what, n, hexText(y[n:]))
	}
}

// diffMap writes the heap blocks whose bits differ.
func diffMap(b *strings.Builder, x, y []byte, block wal.BlockNumber) {
	names := [4]string{"not all visible", "all visible", "all frozen without all visible", "all visible and frozen"}
	first := uint64(block) * (wal.BlockSize - headerSize) * 4
	shown := 0
	for i := range (wal.BlockSize - headerSize) * 4 {
		was, is := x[headerSize+i/4]>>(i%4*2)&3, y[headerSize+i/4]>>(i%4*2)&3
		if was == is {
			continue
		}
		if shown++; shown > maxRuns {
			fmt.Fprintf(b, "and more heap blocks\n")
			return
		}
		fmt.Fprintf(b, "heap block %d: %s → %s\n", first+uint64(i), names[was], names[is])
	}
}

// special is the special space, nil without one.
func special(p []byte) []byte {
	if at := int(le.Uint16(p[atSpecial:])); at >= headerSize && at < wal.BlockSize {
		return p[at:]
	}
	return nil
}
