package rmgrdesc

import (
	"bytes"
	"math"

	"github.com/walplex/walplex/sdk/wal"
)

// logicalMessage is the operation of LogicalMessage (replication/message.h).
const logicalMessage = 0x00

// descLogicalMessage is logicalmsg_desc (access/rmgrdesc/logicalmsgdesc.c). The
// payload is shown whole, three bytes of text for each of its own.
func descLogicalMessage(dst []byte, r *wal.Record) []byte {
	if operation(r) != logicalMessage {
		return dst
	}
	c := mainData(r) // xl_logical_message
	c.skip(4)        // dbId
	transactional := c.bool()
	c.skip(3)
	prefixSize, messageSize := c.u64(), c.u64()
	if c.short {
		return c.end(dst)
	}
	prefix := c.array(int64(min(prefixSize, math.MaxInt64)), 1).buf // with its NUL
	payload := c.array(int64(min(messageSize, math.MaxInt64)), 1).buf
	if n := bytes.IndexByte(prefix, 0); n >= 0 {
		prefix = prefix[:n]
	}

	dst = appendChoice(dst, "", transactional, "transactional", "non-transactional")
	dst = append(dst, `, prefix "`...)
	dst = append(dst, prefix...)
	dst = appendUint(dst, `"; payload (`, messageSize)
	dst = append(dst, " bytes): "...)
	for i, b := range payload {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, upperHex[b>>4], upperHex[b&15])
	}
	return c.end(dst)
}
