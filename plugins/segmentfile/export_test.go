package segmentfile

import "bytes"

// MaxPending is how many finished segments may wait for their compression.
const MaxPending = maxPending

// Inline makes a sink compress at once instead of beside, so that what it does
// can be repeated.
func Inline(s *Sink) *Sink {
	s.inline = true
	return s
}

// Encode compresses as the sink does.
func Encode(compression string, data []byte) ([]byte, error) {
	c, _ := codecNamed(compression)
	var b bytes.Buffer
	z, err := c.writer(&b, 0)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
