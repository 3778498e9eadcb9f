package pgtext

import "fmt"

// appendNumeric is numeric_out (utils/adt/numeric.c). A number is a header of one
// or two 16-bit words and digits of base 10000, of which the first has the weight
// 10000^weight:
//
//	10sd dddd  dwww wwww   s sign, d digits shown behind the point, w weight
//	11tt 0000  0000 0000   t: 00 NaN, 01 Infinity, 11 -Infinity
//	0sdd dddd  dddd dddd   then 16 bits of weight
func appendNumeric(dst, v []byte) ([]byte, error) {
	if len(v) < 2 || len(v)%2 != 0 {
		return nil, errShort
	}
	h := le16(v)
	v = v[2:]
	var negative bool
	var scale, weight int
	switch h & 0xC000 {
	case 0xC000:
		switch h & 0xF000 {
		case 0xC000:
			return append(dst, "NaN"...), nil
		case 0xD000:
			return append(dst, "Infinity"...), nil
		case 0xF000:
			return append(dst, "-Infinity"...), nil
		}
		return nil, fmt.Errorf("its header is %#04x", h)
	case 0x8000:
		negative, scale, weight = h&0x2000 != 0, int(h>>7&0x3F), int(h&0x3F)
		if h&0x40 != 0 {
			weight -= 0x40
		}
	default:
		if len(v) < 2 {
			return nil, errShort
		}
		negative, scale, weight = h&0x4000 != 0, int(h&0x3FFF), int(int16(le16(v)))
		v = v[2:]
	}
	digit := func(i int) int {
		if i < 0 || i >= len(v)/2 {
			return 0
		}
		return int(le16(v[2*i:]))
	}
	for i := range len(v) / 2 {
		if digit(i) > 9999 {
			return nil, fmt.Errorf("%d is no digit", digit(i))
		}
	}
	if negative {
		dst = append(dst, '-')
	}
	if weight < 0 {
		dst = append(dst, '0')
	}
	for i := 0; i <= weight; i++ {
		if i == 0 {
			dst = fmt.Appendf(dst, "%d", digit(i))
		} else {
			dst = append4(dst, digit(i))
		}
	}
	if scale == 0 {
		return dst, nil
	}
	dst = append(dst, '.')
	end := len(dst) + scale
	for i := weight + 1; len(dst) < end; i++ {
		dst = append4(dst, digit(i))
	}
	return dst[:end], nil
}

func append4(dst []byte, d int) []byte {
	return append(dst, '0'+byte(d/1000), '0'+byte(d/100%10), '0'+byte(d/10%10), '0'+byte(d%10))
}
