package wal

import (
	"bytes"
	"strings"
	"testing"
)

// compressPGLZ compresses src in pglz's format: at every place the longest copy
// of what came before, if there is one of three bytes or more.
func compressPGLZ(src []byte) []byte {
	var out, items []byte
	var control byte
	n := 0
	flush := func() {
		out = append(append(out, control), items...)
		items, control, n = items[:0], 0, 0
	}
	for i := 0; i < len(src); {
		if n == 8 {
			flush()
		}
		length, offset := longestMatch(src, i)
		if length < 3 {
			items = append(items, src[i])
			i++
		} else {
			control |= 1 << n
			items = append(items, byte(offset>>8<<4)|byte(min(length, 18)-3), byte(offset))
			if length >= 18 {
				items = append(items, byte(length-18))
			}
			i += length
		}
		n++
	}
	if n > 0 {
		flush()
	}
	return out
}

// longestMatch finds the copy for src[i:] of at most 273 bytes from at most
// 4095 bytes before.
func longestMatch(src []byte, i int) (length, offset int) {
	if i+3 > len(src) {
		return 0, 0
	}
	for from := i - 1; from >= max(0, i-4095); from-- {
		if !bytes.HasPrefix(src[from:], src[i:i+3]) {
			continue
		}
		n := 3
		for n < 273 && i+n < len(src) && src[from+n] == src[i+n] {
			n++
		}
		if n > length {
			length, offset = n, i-from
		}
	}
	return length, offset
}

func TestPGLZ(t *testing.T) {
	for _, c := range []struct {
		name string
		src  []byte
		want string // "" where src is refused
		n    int    // bytes wanted, where it is refused
	}{
		{"literals", []byte{0x00, 'a', 'b', 'c'}, "abc", 0},
		{"nine literals", append(append([]byte{0x00}, "abcdefgh"...), 0x00, 'i'), "abcdefghi", 0},
		{"a copy", []byte{0x08, 'a', 'b', 'c', 0x00, 3}, "abcabc", 0},
		{"a copy of what it writes", []byte{0x02, 'a', 0x0E, 1}, "a" + strings.Repeat("a", 17), 0},
		{"a copy that repeats itself", []byte{0x04, 'a', 'b', 0x0D, 2}, "ab" + strings.Repeat("ab", 8), 0},
		{"a copy of 18", []byte{0x02, 'a', 0x0F, 1, 0}, strings.Repeat("a", 19), 0},
		{"the longest copy", []byte{0x02, 'a', 0x0F, 1, 255}, strings.Repeat("a", 274), 0},
		{"a copy that is cut off", []byte{0x02, 'a', 0x0E, 1}, "aaa", 0},
		{"control bits beyond the end", []byte{0xFE, 'a'}, "a", 0},

		{"nothing", nil, "", 1},
		{"a control byte alone", []byte{0}, "", 1},
		{"too short", []byte{0x00, 'a'}, "", 2},
		{"too long", []byte{0x00, 'a', 'b'}, "", 1},
		{"copy before any byte", []byte{0x01, 0x00, 1}, "", 3},
		{"copy from before the start", []byte{0x02, 'a', 0x00, 2}, "", 4},
		{"copy of offset 0", []byte{0x02, 'a', 0x00, 0}, "", 4},
		{"copy without its second byte", []byte{0x02, 'a', 0x00}, "", 4},
		{"long copy without its third byte", []byte{0x02, 'a', 0x0F, 1}, "", 19},
		{"bytes after the last copy", []byte{0x02, 'a', 0x00, 1, 'b'}, "", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := make([]byte, max(len(c.want), c.n))
			if ok := decompressPGLZ(dst, c.src); ok != (c.want != "") || ok && string(dst) != c.want {
				t.Errorf("%v, %q", ok, dst)
			}
		})
	}
}

// simplePGLZ is the format, byte by byte, without regard to speed.
func simplePGLZ(n int, src []byte) ([]byte, bool) {
	dst := []byte{}
	next := func() (int, bool) {
		if len(src) == 0 {
			return 0, false
		}
		b := src[0]
		src = src[1:]
		return int(b), true
	}
	for len(src) > 0 && len(dst) < n {
		control, _ := next()
		for bit := 0; bit < 8 && len(src) > 0 && len(dst) < n; bit++ {
			first, _ := next()
			if control>>bit&1 == 0 {
				dst = append(dst, byte(first))
				continue
			}
			second, ok := next()
			length, offset := first&15+3, first>>4<<8|second
			if ok && length == 18 {
				var more int
				more, ok = next()
				length += more
			}
			if !ok || offset == 0 || offset > len(dst) {
				return nil, false
			}
			for ; length > 0 && len(dst) < n; length-- {
				dst = append(dst, dst[len(dst)-offset])
			}
		}
	}
	return dst, len(src) == 0 && len(dst) == n
}

// FuzzPGLZ checks decompression against the simple one, and that what was
// compressed comes back.
func FuzzPGLZ(f *testing.F) {
	f.Add(uint16(6), []byte{0x08, 'a', 'b', 'c', 0x00, 3})
	f.Add(uint16(274), []byte{0x02, 'a', 0x0F, 1, 255})
	f.Add(uint16(400), compressPGLZ(samplePage(400, 2000)[:400]))
	f.Fuzz(func(t *testing.T, n uint16, src []byte) {
		n %= BlockSize + 1
		want, ok := simplePGLZ(int(n), src)
		dst := make([]byte, n)
		if got := decompressPGLZ(dst, src); got != ok || ok && !bytes.Equal(dst, want) {
			t.Fatalf("%v, %x; want %v, %x", got, dst, ok, want)
		}
		if len(src) == 0 || len(src) > 512 { // compressPGLZ is slow
			return
		}
		back := make([]byte, len(src))
		if !decompressPGLZ(back, compressPGLZ(src)) || !bytes.Equal(back, src) {
			t.Fatalf("%x came back as %x", src, back)
		}
	})
}
