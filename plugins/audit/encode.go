package audit

import (
	"math"
	"math/bits"
	"strconv"

	"github.com/walplex/walplex/sdk/wal"
)

// encoder makes lines. It allocates nothing per record, but what it remembers of
// former ones, because records that follow each other have much in common. It is
// not safe for concurrent use.
type encoder struct {
	rmgr  [math.MaxUint8 + 1]string // names as JSON strings
	forks [math.MaxUint8 + 1]string

	version    wal.Version
	operations [math.MaxUint8 + 1][16]string // of rmgr and xl_info's high four bits: `,"rmgr":…,"operation":…`
	recent     [4]recentRel                  // by block id, modulo
}

// recentRel is how the last block reference of an id was written, up to its block
// number.
type recentRel struct {
	rel  wal.RelFileLocator
	fork wal.ForkNumber
	text []byte
}

func newEncoder() *encoder {
	e := new(encoder)
	for i := range e.rmgr {
		e.rmgr[i] = string(appendString(nil, wal.RmgrID(i).String()))
		e.forks[i] = string(appendString(nil, wal.ForkNumber(i).String()))
	}
	return e
}

// appendLine appends a whole record's line.
func (e *encoder) appendLine(b []byte, tli wal.TimelineID, rec *wal.Record) []byte {
	return e.appendTail(appendHead(b, rec.StartLSN, rec.EndLSN), tli, rec)
}

// appendHead appends what a line says of the place, which of a record in
// fragments is known with the last only.
func appendHead(b []byte, start, end wal.LSN) []byte {
	b = append(b, `{"start_lsn":"`...)
	b = appendLSN(b, start)
	b = append(b, `","end_lsn":"`...)
	b = appendLSN(b, end)
	return append(b, '"')
}

// appendTail appends the rest of the line, all of which the first fragment
// knows.
func (e *encoder) appendTail(b []byte, tli wal.TimelineID, rec *wal.Record) []byte {
	b = append(b, `,"prev_lsn":"`...)
	b = appendLSN(b, rec.PrevLSN)
	b = appendNumber(append(b, `","timeline":`...), uint32(tli))
	b = appendNumber(append(b, `,"xid":`...), uint32(rec.XID))
	if rec.TopLevelXID != 0 {
		b = appendNumber(append(b, `,"toplevel_xid":`...), uint32(rec.TopLevelXID))
	}
	if rec.Origin != 0 {
		b = appendNumber(append(b, `,"origin":`...), uint32(rec.Origin))
	}
	b = append(b, e.operation(rec)...)
	if micros, ok := rec.XactTime(); ok {
		b = appendTime(append(b, `,"xact_time":`...), micros)
	}
	b = appendNumber(append(b, `,"length":`...), rec.TotalLen)
	b = appendNumber(append(b, `,"main_data_length":`...), rec.MainDataLen)
	if len(rec.Blocks) > 0 {
		b = append(b, `,"blocks":[`...)
		for i := range rec.Blocks {
			b = append(e.appendBlock(b, &rec.Blocks[i]), ',')
		}
		b[len(b)-1] = ']'
	}
	return append(b, '}', '\n')
}

// operation is what a line says of the resource manager and the operation, which
// xl_info's high four bits decide.
func (e *encoder) operation(rec *wal.Record) string {
	if e.version != rec.Version {
		e.version, e.operations = rec.Version, [math.MaxUint8 + 1][16]string{}
	}
	text := &e.operations[rec.RmgrID][rec.Info>>4]
	if *text == "" {
		*text = `,"rmgr":` + e.rmgr[rec.RmgrID] + `,"operation":` + string(appendString(nil, rec.Operation()))
	}
	return *text
}

func (e *encoder) appendBlock(b []byte, ref *wal.BlockRef) []byte {
	b = appendNumber(append(b, `{"id":`...), uint32(ref.ID))
	r := &e.recent[ref.ID%uint8(len(e.recent))]
	if len(r.text) == 0 || r.rel != ref.Rel || r.fork != ref.Fork {
		r.rel, r.fork = ref.Rel, ref.Fork
		r.text = appendNumber(append(r.text[:0], `,"rel":"`...), uint32(ref.Rel.Spc))
		r.text = appendNumber(append(r.text, '/'), uint32(ref.Rel.DB))
		r.text = appendNumber(append(r.text, '/'), uint32(ref.Rel.Rel))
		r.text = append(append(r.text, `","fork":`...), e.forks[ref.Fork]...)
		r.text = append(r.text, `,"block":`...)
	}
	b = appendNumber(append(b, r.text...), uint32(ref.Block))
	if ref.WillInit() {
		b = append(b, `,"will_init":true`...)
	}
	if ref.HasImage() {
		b = appendNumber(append(b, `,"image_bytes":`...), uint32(ref.ImageLen))
		if ref.ApplyImage() {
			b = append(b, `,"apply":true`...)
		}
	}
	return append(b, '}')
}

// appendHeader appends a file's first line.
func appendHeader(b []byte, h *header) []byte {
	b = appendNumber(append(b, `{"walplex_audit":`...), formatVersion)
	b = strconv.AppendUint(append(b, `,"system_id":"`...), h.SystemID, 10)
	b = appendNumber(append(b, `","timeline":`...), uint32(h.Timeline))
	b = appendLSN(append(b, `,"from":"`...), h.From)
	b = appendString(append(b, `","level":`...), h.Level)
	if h.Filtered {
		b = append(b, `,"filtered":true`...)
	}
	return append(b, '}', '\n')
}

func appendNumber(b []byte, n uint32) []byte { return strconv.AppendUint(b, uint64(n), 10) }

// appendLSN appends pg_lsn's text form.
func appendLSN(b []byte, lsn wal.LSN) []byte {
	b = append(appendHex(b, uint32(lsn>>32)), '/')
	return appendHex(b, uint32(lsn))
}

const upperHex = "0123456789ABCDEF"

// appendHex appends n in upper-case hexadecimal without leading zeros.
func appendHex(b []byte, n uint32) []byte {
	digits := max(1, (bits.Len32(n)+3)/4)
	b = append(b, "00000000"[:digits]...)
	for i := len(b) - 1; digits > 0; digits-- {
		b[i] = upperHex[n&0xF]
		n >>= 4
		i--
	}
	return b
}

// appendTime appends a TimestampTz, microseconds since 2000-01-01 UTC. Years
// beyond 9999, which PostgreSQL has and RFC 3339 has not, get the digits that
// they need.
func appendTime(b []byte, micros int64) []byte {
	t := wal.TimestampTime(micros)
	year, month, day := t.Date()
	if year < 1000 || year > 9999 {
		return t.AppendFormat(b, `"2006-01-02T15:04:05.000000Z"`)
	}
	hour, minute, second := t.Clock()
	b = appendNumber(append(b, '"'), uint32(year))
	b = appendTwo(append(b, '-'), int(month))
	b = appendTwo(append(b, '-'), day)
	b = appendTwo(append(b, 'T'), hour)
	b = appendTwo(append(b, ':'), minute)
	b = appendTwo(append(b, ':'), second)
	us := t.Nanosecond() / 1000
	b = appendTwo(append(b, '.'), us/10000)
	b = appendTwo(b, us/100%100)
	b = appendTwo(b, us%100)
	return append(b, 'Z', '"')
}

// appendTwo appends two decimal digits.
func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// appendString appends a JSON string. Names are ASCII, so the loop is all that
// ever runs; anything else is escaped byte by byte, which keeps the line valid.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7F:
			b = append(b, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&0xF])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
