package crc32c

import (
	"hash/crc32"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// What the CPU has. Only tests write to these.
var (
	hasCRC  = cpu.X86.HasSSE42
	hasFold = hasCRC && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VPCLMULQDQ
)

// Where another way becomes faster, in bytes: measured, see BenchmarkRecord.
const (
	foldFrom = 192  // fold
	wideFrom = 1024 // hash/crc32's three streams at once, where there is no fold
)

func update(crc uint32, p []byte) uint32 {
	if !hasCRC || !hasFold && len(p) >= wideFrom {
		return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), p)
	}
	crc, p = begin(^crc, p)
	return ^serial(crc, unsafe.SliceData(p), len(p))
}

func record(rec []byte) uint32 {
	body := rec[headerSize:]
	if hasCRC && len(body) < foldFrom {
		return serialRecord(^uint32(0), unsafe.SliceData(body), len(body), &rec[0])
	}
	if !hasCRC || !hasFold && len(body) >= wideFrom {
		return update(update(0, body), rec[:crcOffset])
	}
	crc, rest := begin(^uint32(0), body)
	return serialRecord(crc, unsafe.SliceData(rest), len(rest), &rec[0])
}

// begin folds what is worth it, and answers the rest.
func begin(crc uint32, p []byte) (uint32, []byte) {
	if !hasFold || len(p) < foldFrom {
		return crc, p
	}
	n := len(p) &^ 63
	return fold(crc, &p[0], n), p[n:]
}

// serial adds n bytes, which may be 0, to the inverted crc; needs SSE 4.2.
//
//go:noescape
func serial(crc uint32, p *byte, n int) uint32

// serialRecord adds n bytes, which may be 0, and a header but for xl_crc to the
// inverted crc, and inverts it; needs SSE 4.2.
//
//go:noescape
func serialRecord(crc uint32, p *byte, n int, header *byte) uint32

// fold adds n bytes, a multiple of 64 and at least 64, to the inverted crc; needs
// what hasFold says.
//
//go:noescape
func fold(crc uint32, p *byte, n int) uint32
