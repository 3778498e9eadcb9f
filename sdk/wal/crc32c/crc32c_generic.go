//go:build !amd64

package crc32c

import "hash/crc32"

func update(crc uint32, p []byte) uint32 { return crc32.Update(crc, table(), p) }

func record(rec []byte) uint32 {
	t := table()
	return crc32.Update(crc32.Update(0, t, rec[headerSize:]), t, rec[:crcOffset])
}

// table is hash/crc32's own, by which it knows the polynomial.
func table() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
