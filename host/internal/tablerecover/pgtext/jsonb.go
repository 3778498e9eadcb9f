package pgtext

import (
	"errors"
	"fmt"
)

// What a container's header and its entries hold (utils/jsonb.h).
const (
	jbCount  = 0x0FFFFFFF
	jbScalar = 0x10000000
	jbObject = 0x20000000
	jbArray  = 0x40000000

	jeOffLen    = 0x0FFFFFFF
	jeType      = 0x70000000
	jeHasOffset = 0x80000000

	jeString    = 0x00000000
	jeNumeric   = 0x10000000
	jeFalse     = 0x20000000
	jeTrue      = 0x30000000
	jeNull      = 0x40000000
	jeContainer = 0x50000000
)

var errJSONB = errors.New("the document is damaged")

// appendJSONB is jsonb_out of a container: a header word, an entry of a word for
// every value (of an object: all keys, then all values), and the values. An
// entry has the length of its value, or the offset of its end.
func appendJSONB(dst, v []byte, depth int) ([]byte, error) {
	if len(v) < 4 {
		return nil, errShort
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("the document is deeper than %d", maxDepth)
	}
	header := le32(v)
	n := int(header & jbCount)
	entries := n
	if header&jbObject != 0 {
		entries *= 2
	}
	if entries > (len(v)-4)/4 {
		return nil, errShort
	}
	c := jsonbContainer{entries: v[4 : 4+4*entries], data: v[4+4*entries:]}
	if err := c.bounds(entries); err != nil {
		return nil, err
	}
	switch {
	case header&jbObject != 0:
		return c.object(dst, n, depth)
	case header&jbArray == 0:
		return nil, errJSONB
	case header&jbScalar != 0:
		if n != 1 {
			return nil, errJSONB
		}
		return c.value(dst, 0, depth)
	}
	dst = append(dst, '[')
	var err error
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = c.value(dst, i, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

type jsonbContainer struct {
	entries, data []byte
	ends          []int
}

// bounds finds where every value ends.
func (c *jsonbContainer) bounds(n int) error {
	c.ends = make([]int, n)
	at := 0
	for i := range n {
		e := le32(c.entries[4*i:])
		end := int(e & jeOffLen)
		if e&jeHasOffset == 0 {
			end += at
		}
		if end < at || end > len(c.data) {
			return errJSONB
		}
		c.ends[i], at = end, end
	}
	return nil
}

func (c *jsonbContainer) object(dst []byte, n, depth int) (_ []byte, err error) {
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if le32(c.entries[4*i:])&jeType != jeString {
			return nil, errJSONB
		}
		if dst, err = c.value(dst, i, depth); err != nil {
			return nil, err
		}
		dst = append(dst, ": "...)
		if dst, err = c.value(dst, n+i, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func (c *jsonbContainer) value(dst []byte, i, depth int) ([]byte, error) {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	end := c.ends[i]
	switch kind := le32(c.entries[4*i:]) & jeType; kind {
	case jeString:
		return appendJSONString(dst, c.data[start:end]), nil
	case jeFalse:
		return append(dst, "false"...), nil
	case jeTrue:
		return append(dst, "true"...), nil
	case jeNull:
		return append(dst, "null"...), nil
	case jeNumeric, jeContainer:
		if start = (start + 3) &^ 3; start > end {
			return nil, errJSONB
		}
		if kind == jeContainer {
			return appendJSONB(dst, c.data[start:end], depth+1)
		}
		number, err := (&Formatter{}).payload(c.data[start:end])
		if err != nil {
			return nil, err
		}
		return appendNumeric(dst, number)
	}
	return nil, errJSONB
}

// appendJSONString is escape_json.
func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch c {
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '"', '\\':
			dst = append(dst, '\\', c)
		default:
			if c < ' ' {
				dst = fmt.Appendf(dst, `\u%04x`, c)
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}
