package tablerecover

// appendNull appends COPY's text of NULL.
func appendNull(dst []byte) []byte { return append(dst, `\N`...) }

// appendCopy appends a value as COPY's text format has it (CopyAttributeOutText,
// with a tab between columns): backslash and the bytes that end columns and lines
// are escaped.
func appendCopy(dst, value []byte) []byte {
	for _, c := range value {
		switch c {
		case '\b':
			c = 'b'
		case '\f':
			c = 'f'
		case '\n':
			c = 'n'
		case '\r':
			c = 'r'
		case '\t':
			c = 't'
		case '\v':
			c = 'v'
		case '\\':
		default:
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '\\', c)
	}
	return dst
}
