package pgtext

import (
	"fmt"
	"strconv"
)

// Families of addresses (utils/inet.h): PGSQL_AF_INET, PGSQL_AF_INET6.
const (
	familyV4 = 2
	familyV6 = 3
)

// appendInet is inet_out and cidr_out: a byte of family, one of the netmask's
// bits, and the address.
func appendInet(dst, v []byte, cidr bool) ([]byte, error) {
	if len(v) < 2 {
		return nil, errShort
	}
	bits, addr := int(v[1]), v[2:]
	switch {
	case v[0] == familyV4 && len(addr) == 4:
		dst = appendIPv4(dst, addr)
	case v[0] == familyV6 && len(addr) == 16:
		dst = appendIPv6(dst, addr)
	default:
		return nil, fmt.Errorf("%d bytes are no address of family %d", len(addr), v[0])
	}
	if bits > 8*len(addr) {
		return nil, fmt.Errorf("the netmask has %d bits", bits)
	}
	if cidr || bits != 8*len(addr) {
		dst = strconv.AppendInt(append(dst, '/'), int64(bits), 10)
	}
	return dst, nil
}

func appendIPv4(dst, a []byte) []byte { return fmt.Appendf(dst, "%d.%d.%d.%d", a[0], a[1], a[2], a[3]) }

// appendIPv6 leaves out the longest run of at least two zero words, the first of
// such, and writes the end of an embedded IPv4 address as one.
func appendIPv6(dst, a []byte) []byte {
	var words [8]uint16
	for i := range words {
		words[i] = uint16(a[2*i])<<8 | uint16(a[2*i+1])
	}
	base, length := -1, 0
	for i := 0; i < 8; {
		n := 0
		for i+n < 8 && words[i+n] == 0 {
			n++
		}
		if n > length {
			base, length = i, n
		}
		i += max(n, 1)
	}
	if length < 2 {
		base, length = -1, 0
	}
	for i := 0; i < 8; i++ {
		if base >= 0 && i >= base && i < base+length {
			if i == base {
				dst = append(dst, ':')
			}
			continue
		}
		if i != 0 {
			dst = append(dst, ':')
		}
		if i == 6 && base == 0 && (length == 6 || length == 7 && words[7] != 1 || length == 5 && words[5] == 0xFFFF) {
			return appendIPv4(dst, a[12:])
		}
		dst = strconv.AppendUint(dst, uint64(words[i]), 16)
	}
	if base >= 0 && base+length == 8 {
		dst = append(dst, ':')
	}
	return dst
}
