package audit

import (
	"bytes"

	"github.com/walplex/walplex/sdk/wal"
)

// scanned is what Verify compares of a line.
type scanned struct {
	start, end, prev wal.LSN
	timeline         wal.TimelineID
}

// scanLine reads a line that is exactly as appendLine writes it, end included,
// and answers false for any other, which may be right all the same: it is for
// speed alone, ten times that of encoding/json.
func scanLine(line []byte) (l scanned, ok bool) {
	c := scanner{rest: line}
	c.literal(`{"start_lsn":"`)
	l.start = c.lsn()
	c.literal(`","end_lsn":"`)
	l.end = c.lsn()
	c.literal(`","prev_lsn":"`)
	l.prev = c.lsn()
	c.literal(`","timeline":`)
	l.timeline = wal.TimelineID(c.number())
	c.literal(`,"xid":`)
	c.number()
	if c.has(`,"toplevel_xid":`) {
		c.number()
	}
	if c.has(`,"origin":`) {
		c.number()
	}
	c.literal(`,"rmgr":"`)
	c.text()
	c.literal(`","operation":"`)
	c.text()
	if c.has(`","xact_time":"`) {
		c.text()
	}
	c.literal(`","length":`)
	if c.number() < wal.RecordHeaderSize {
		c.bad = true
	}
	c.literal(`,"main_data_length":`)
	c.number()
	if c.has(`,"blocks":[`) {
		c.block()
		for c.has(`,`) {
			c.block()
		}
		c.literal(`]`)
	}
	c.literal("}\n")
	return l, !c.bad && len(c.rest) == 0
}

// scanner reads from the front of rest. bad is sticky.
type scanner struct {
	rest []byte
	bad  bool
}

func (c *scanner) has(s string) bool {
	if len(c.rest) < len(s) || string(c.rest[:len(s)]) != s {
		return false
	}
	c.rest = c.rest[len(s):]
	return true
}

func (c *scanner) literal(s string) {
	if !c.has(s) {
		c.bad = true
	}
}

// number reads a 32-bit number without leading zeros.
func (c *scanner) number() (n uint64) {
	i := 0
	for i < len(c.rest) && i < 10 && c.rest[i]-'0' < 10 {
		n = n*10 + uint64(c.rest[i]-'0')
		i++
	}
	if i == 0 || i > 1 && c.rest[0] == '0' || n > 1<<32-1 {
		c.bad = true
	}
	c.rest = c.rest[i:]
	return n
}

func (c *scanner) lsn() wal.LSN {
	hi := c.hex()
	c.literal(`/`)
	return wal.LSN(hi<<32 | c.hex())
}

// hex reads an upper-case 32-bit number without leading zeros.
func (c *scanner) hex() (n uint64) {
	i := 0
	for ; i < len(c.rest) && i < 8; i++ {
		d := c.rest[i]
		switch {
		case d-'0' < 10:
			n = n<<4 | uint64(d-'0')
			continue
		case d-'A' < 6:
			n = n<<4 | uint64(d-'A'+10)
			continue
		}
		break
	}
	if i == 0 || i > 1 && c.rest[0] == '0' {
		c.bad = true
	}
	c.rest = c.rest[i:]
	return n
}

// text reads up to the next quote: one character at least, and none that JSON
// escapes.
func (c *scanner) text() {
	n := bytes.IndexByte(c.rest, '"')
	if n <= 0 {
		c.bad = true
		return
	}
	for _, b := range c.rest[:n] {
		if b < ' ' || b >= 0x7F || b == '\\' {
			c.bad = true
		}
	}
	c.rest = c.rest[n:]
}

func (c *scanner) block() {
	c.literal(`{"id":`)
	c.number()
	c.literal(`,"rel":"`)
	c.number()
	c.literal(`/`)
	c.number()
	c.literal(`/`)
	c.number()
	c.literal(`","fork":"`)
	c.text()
	c.literal(`","block":`)
	c.number()
	c.has(`,"will_init":true`)
	if c.has(`,"image_bytes":`) {
		c.number()
		c.has(`,"apply":true`)
	}
	c.literal(`}`)
}
