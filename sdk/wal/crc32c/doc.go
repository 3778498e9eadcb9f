// Package crc32c computes the checksum of WAL: CRC-32C (Castagnoli, reflected,
// polynomial 0x1EDC6F41), as PostgreSQL does (port/pg_crc32c.h).
//
// xl_crc covers a record's bytes in this order (xloginsert.c,
// XLogRecordAssemble):
//
//	byte     0                     20        24                    xl_tot_len
//	         +----------------------+---------+---------------------+
//	         | header but xl_crc    | xl_crc  | headers, images, data|
//	         +----------------------+---------+---------------------+
//	covered         second             not            first
//
// hash/crc32 computes the same, but for records of some 50 bytes its calls cost
// more than the checksum. Here, on amd64, a record is one call of assembly:
//
//   - the odd bytes come first, shifted into one word, so that no branch depends
//     on the length's last three bits; then CRC32Q takes eight bytes at a time;
//   - from foldFrom bytes on, and where the CPU has VPCLMULQDQ on 512 bits,
//     carry-less multiplication takes 256 bytes at a time (Gopal et al., "Fast
//     CRC Computation for Generic Polynomials Using PCLMULQDQ").
//
// Elsewhere it is hash/crc32, which has the instructions of other CPUs.
package crc32c
