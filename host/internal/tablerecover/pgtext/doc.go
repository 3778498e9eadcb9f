// Package pgtext makes text of values as they lie in PostgreSQL's pages, byte for
// byte what the types' output functions make of them: what COPY writes before it
// escapes. It is pure.
//
// A stored value is what a tuple, an array or a range holds of it:
//
//	typlen > 0    typlen bytes
//	typlen = -1   a varlena (varatt.h), which on little-endian machines begins with
//
//	 bits 1..0 of the first byte
//	 00   4-byte header, length << 2, itself counted: plain
//	 10   4-byte header, as above: compressed; then 4 bytes: length when
//	      decompressed in 30 bits, method in 2 (0 pglz, 1 lz4)
//	 x1   1-byte header, length << 1 | 1, itself counted: plain, not aligned
//	 01   in a byte that is exactly 1: one byte of tag follows (18), and then
//	      where the value lies in a TOAST table: [External]
//
//	typlen = -2   a C string with its NUL
//
// Settings that shape the server's text stand here as: DateStyle ISO, IntervalStyle
// postgres, TimeZone UTC, extra_float_digits 1, bytea_output hex, lc_monetary C,
// xmloption content. Types that name objects (regclass and the like) are given as
// the number of the object, which their input accepts.
//
// Damage is an error and never a wrong value; so is a type whose output is not
// known here: [Supported] tells beforehand.
package pgtext
