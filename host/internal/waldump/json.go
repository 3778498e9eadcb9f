package waldump

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/walplex/walplex/sdk/wal"
)

// appendJSON appends the record as one object and a line's end. Names are those
// of the audit sink's lines; besides there are the description and all that -b
// shows.
//
//	{"start_lsn":"0/3000148","end_lsn":"0/3002188","prev_lsn":"0/30000E8","xid":731,"rmgr":"Heap","operation":"LOCK",
//	 "length":8250,"record_bytes":54,"description":"…","blocks":[{"id":0,"rel":"1663/5/16384","fork":"main","block":7,
//	 "image_bytes":8196,"hole_offset":64,"hole_length":100,"compression":"lz4","apply":true}]}
func (p *printer) appendJSON(b []byte, r *wal.Record) []byte {
	images := uint32(0)
	for i := range r.Blocks {
		images += uint32(r.Blocks[i].ImageLen)
	}
	b = appendLSNField(append(b, '{'), "start_lsn", r.StartLSN)
	b = appendLSNField(append(b, ','), "end_lsn", r.EndLSN)
	b = appendLSNField(append(b, ','), "prev_lsn", r.PrevLSN)
	b = appendField(append(b, ','), "xid", uint32(r.XID))
	if r.TopLevelXID != 0 {
		b = appendField(append(b, ','), "toplevel_xid", uint32(r.TopLevelXID))
	}
	if r.Origin != 0 {
		b = appendField(append(b, ','), "origin", uint32(r.Origin))
	}
	b = append(append(append(b, `,"rmgr":"`...), r.RmgrID.String()...), '"')
	b = append(append(append(b, `,"operation":"`...), r.Operation()...), '"')
	if micros, ok := r.XactTime(); ok {
		b = append(b, `,"xact_time":"`...)
		b = append(wal.TimestampTime(micros).AppendFormat(b, time.RFC3339Nano), '"')
	}
	b = appendField(append(b, ','), "length", r.TotalLen)
	b = appendField(append(b, ','), "record_bytes", r.TotalLen-images)
	b = append(b, `,"description":`...)
	at := len(b)
	b = appendQuoted(appendDescription(b, r), at)
	if len(r.Blocks) > 0 {
		b = append(b, `,"blocks":[`...)
		for i := range r.Blocks {
			b = append(p.appendJSONBlock(b, &r.Blocks[i]), ',')
		}
		b[len(b)-1] = ']'
	}
	return append(b, '}', '\n')
}

func (p *printer) appendJSONBlock(b []byte, ref *wal.BlockRef) []byte {
	b = appendField(append(b, '{'), "id", uint32(ref.ID))
	b = strconv.AppendUint(append(b, `,"rel":"`...), uint64(ref.Rel.Spc), 10)
	b = strconv.AppendUint(append(b, '/'), uint64(ref.Rel.DB), 10)
	b = strconv.AppendUint(append(b, '/'), uint64(ref.Rel.Rel), 10)
	b = append(append(append(b, `","fork":"`...), p.forks[ref.Fork]...), '"')
	b = appendField(append(b, ','), "block", uint32(ref.Block))
	if ref.WillInit() {
		b = append(b, `,"will_init":true`...)
	}
	if ref.HasImage() {
		b = appendField(append(b, ','), "image_bytes", uint32(ref.ImageLen))
		b = appendField(append(b, ','), "hole_offset", uint32(ref.HoleOffset))
		b = appendField(append(b, ','), "hole_length", uint32(ref.HoleLen))
		if ref.Flags&wal.BlockImageCompressed != 0 {
			b = append(append(append(b, `,"compression":"`...), method(ref)...), '"')
		}
		if ref.ApplyImage() {
			b = append(b, `,"apply":true`...)
		}
	}
	return append(b, '}')
}

func appendField(b []byte, name string, n uint32) []byte {
	b = append(append(append(b, '"'), name...), '"', ':')
	return strconv.AppendUint(b, uint64(n), 10)
}

func appendLSNField(b []byte, name string, lsn wal.LSN) []byte {
	b = append(append(append(b, '"'), name...), '"', ':', '"')
	b = appendHex(b, uint32(lsn>>32))
	return append(appendHex(append(b, '/'), uint32(lsn)), '"')
}

// appendQuoted makes a JSON string of the bytes from at on. What is not UTF-8,
// such as a byte of a binary name, becomes U+FFFD.
func appendQuoted(b []byte, at int) []byte {
	plain := true
	for _, c := range b[at:] {
		if c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, 0, '"')
		copy(b[at+1:], b[at:])
		b[at] = '"'
		b[len(b)-1] = '"'
		return b
	}
	text := string(b[at:])
	b = append(b[:at], '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < 0x20:
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&0xF])
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, '"')
}
