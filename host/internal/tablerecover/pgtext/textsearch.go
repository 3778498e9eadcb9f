package pgtext

import (
	"errors"
	"fmt"
	"strconv"
)

// appendTSVector is tsvectorout (tsearch/ts_type.h): the number of lexemes, a word
// for each (bit 0: has positions, 11 bits of length, 20 of place), then the
// lexemes, each followed by its positions on an even place: their number, and 14
// bits of position and 2 of weight each.
func appendTSVector(dst, v []byte) ([]byte, error) {
	if len(v) < 4 || uint64(le32(v)) > uint64(len(v)-4)/4 {
		return nil, errShort
	}
	n := int(le32(v))
	data := v[4+4*n:]
	for i := range n {
		e := le32(v[4+4*i:])
		length, at := int(e>>1&0x7FF), int(e>>12)
		if at+length > len(data) {
			return nil, errShort
		}
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendLexeme(dst, data[at:at+length])
		if e&1 == 0 {
			continue
		}
		at = (at + length + 1) &^ 1
		if at+2 > len(data) || at+2+2*int(le16(data[at:])) > len(data) {
			return nil, errShort
		}
		for k := range int(le16(data[at:])) {
			sep := byte(',')
			if k == 0 {
				sep = ':'
			}
			p := le16(data[at+2+2*k:])
			dst = strconv.AppendUint(append(dst, sep), uint64(p&0x3FFF), 10)
			if w := p >> 14; w > 0 {
				dst = append(dst, "DCBA"[w])
			}
		}
	}
	return dst, nil
}

// appendLexeme appends a lexeme in quotes.
func appendLexeme(dst, s []byte) []byte {
	dst = append(dst, '\'')
	for _, c := range s {
		if c == '\'' || c == '\\' {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, '\'')
}

// Items of a query, 12 bytes each, in Polish notation, the right operand first
// (QueryItem in tsearch/ts_type.h).
const (
	queryItemSize = 12
	queryValue    = 1
	queryOperator = 2

	opNot    = 1
	opAnd    = 2
	opOr     = 3
	opPhrase = 4
)

var errTSQuery = errors.New("the query is damaged")

type tsquery struct{ items, operands []byte }

// appendTSQuery is tsqueryout.
func appendTSQuery(dst, v []byte) ([]byte, error) {
	if len(v) < 4 || uint64(le32(v)) > uint64(len(v)-4)/queryItemSize {
		return nil, errShort
	}
	n := int(le32(v))
	if n == 0 {
		return dst, nil
	}
	q := tsquery{v[4 : 4+n*queryItemSize], v[4+n*queryItemSize:]}
	dst, _, err := q.infix(dst, q.items, -1, false, 0)
	return dst, err
}

// infix appends the first item of items with its operands, and answers what
// follows them.
func (q *tsquery) infix(dst, items []byte, parent int, rightOfPhrase bool, depth int) (_, rest []byte, err error) {
	if len(items) < queryItemSize || depth > maxDepth {
		return nil, nil, errTSQuery
	}
	it, rest := items[:queryItemSize], items[queryItemSize:]
	if it[0] == queryValue {
		dst, err = q.operand(dst, it)
		return dst, rest, err
	}
	op := int(it[1])
	if it[0] != queryOperator || op < opNot || op > opPhrase {
		return nil, nil, errTSQuery
	}
	priority := [...]int{opNot: 4, opAnd: 2, opOr: 1, opPhrase: 3}[op]
	paren := priority < parent || op == opPhrase && rightOfPhrase
	if paren {
		dst = append(dst, "( "...)
	}
	if op == opNot {
		dst, rest, err = q.infix(append(dst, '!'), rest, priority, false, depth+1)
	} else {
		dst, rest, err = q.binary(dst, rest, op, int(int16(le16(it[2:]))), priority, depth)
	}
	if err != nil {
		return nil, nil, err
	}
	if paren {
		dst = append(dst, " )"...)
	}
	return dst, rest, nil
}

// binary appends both operands and what is between them.
func (q *tsquery) binary(dst, items []byte, op, distance, priority, depth int) (_, rest []byte, err error) {
	right, rest, err := q.infix(nil, items, priority, op == opPhrase, depth+1)
	if err != nil {
		return nil, nil, err
	}
	if dst, rest, err = q.infix(dst, rest, priority, false, depth+1); err != nil {
		return nil, nil, err
	}
	switch {
	case op == opOr:
		dst = append(dst, " | "...)
	case op == opAnd:
		dst = append(dst, " & "...)
	case distance != 1:
		dst = fmt.Appendf(dst, " <%d> ", distance)
	default:
		dst = append(dst, " <-> "...)
	}
	return append(dst, right...), rest, nil
}

// operand appends a word: a byte of kind, one of weights, one for a prefix, at 8
// 12 bits of length and 20 of place.
func (q *tsquery) operand(dst, it []byte) ([]byte, error) {
	e := le32(it[8:])
	length, at := int(e&0xFFF), int(e>>12)
	if at+length > len(q.operands) {
		return nil, errTSQuery
	}
	dst = appendLexeme(dst, q.operands[at:at+length])
	weight, prefix := it[1], it[2] != 0
	if weight == 0 && !prefix {
		return dst, nil
	}
	dst = append(dst, ':')
	if prefix {
		dst = append(dst, '*')
	}
	for i := 3; i >= 0; i-- {
		if weight>>i&1 != 0 {
			dst = append(dst, "DCBA"[i])
		}
	}
	return dst, nil
}
