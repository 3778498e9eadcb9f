package xlogreader

import (
	"github.com/walplex/walplex/sdk/wal"
	"github.com/walplex/walplex/sdk/wal/crc32c"
)

// handOverFragment hands over the bytes collected of a record of which more are
// to come. Nothing is known about its CRC yet.
func (r *Reader) handOverFragment(rec *wal.Record) (Status, error) {
	c := &r.cur
	body := c.buf
	if c.sent == 0 {
		body = c.buf[wal.RecordHeaderSize:]
		c.decoded.StartLSN, c.decoded.EndLSN, c.decoded.Version = c.start, 0, r.version
		if err := c.decoded.Decode(c.buf); err != nil {
			return 0, err
		}
	}
	c.crc = crc32c.Update(c.crc, body)
	c.fill(rec)
	c.sent = c.got
	c.target = min(c.total, c.got+uint32(c.fragment))
	c.buf = c.buf[:0]
	return Fragment, nil
}

// handOverLast hands over the last fragment of a record whose CRC was right.
func (r *Reader) handOverLast(rec *wal.Record) (Status, error) {
	c := &r.cur
	c.decoded.EndLSN = r.end
	c.fill(rec)
	r.lastStart, r.lastEnd = c.start, r.end
	r.between()
	return Fragment, nil
}

// fill makes rec the fragment that lies in the buffer.
func (c *record) fill(rec *wal.Record) {
	blocks := append(rec.Blocks[:0], c.decoded.Blocks...)
	*rec = c.decoded
	rec.Blocks = blocks
	rec.FragmentOffset = c.sent
	rec.Data = c.buf[:len(c.buf):len(c.buf)]
}
