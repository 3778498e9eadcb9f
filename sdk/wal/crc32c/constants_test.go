package crc32c

import (
	"math/bits"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// power is x^n mod P, of which the highest bit is x^31.
func power(n int) uint32 {
	const poly = 0x1EDC6F41
	r := uint32(1)
	for range n {
		r = r<<1 ^ poly*(r>>31)
	}
	return r
}

// TestConstants computes the constants of the assembly.
func TestConstants(t *testing.T) {
	source, err := os.ReadFile("crc32c_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	pairs := regexp.MustCompile(`(?m)^PAIR\((\w+), (\d+), (\w+), (\w+)\)`).FindAllStringSubmatch(string(source), -1)
	if len(pairs) != 12 {
		t.Fatalf("%d pairs of constants", len(pairs))
	}
	lanes := map[string]int{"0": 384, "16": 256, "32": 128}
	for _, p := range pairs {
		distance := map[string]int{"over2048": 2048, "over512": 512, "lanes": lanes[p[2]]}[p[1]]
		for i, n := range []int{distance + 32, distance - 32} {
			want := uint64(0)
			if distance != 0 {
				want = uint64(bits.Reverse32(power(n))) << 1
			}
			got, err := strconv.ParseUint(p[3+i], 0, 64)
			if err != nil || got != want {
				t.Errorf("%s: %s, want %#x (%v)", p[0], p[3+i], want, err)
			}
		}
	}
}
