#include "textflag.h"

// SERIAL adds the R9 bytes at SI to the inverted CRC in AX. It changes BX, CX,
// DX, R9, R10 and SI. It may stand
// once in a function, for its labels.
//
// The first R9%8 bytes are taken as the last ones of a word whose other bytes are
// zeros, which leave a CRC of zero alone; the CRC so far is xored onto the first
// four bytes, as far as they are not in that word onto the next. At rest, R9 is the
// number of words less 4.
#define SERIAL \
	CMPQ R9, $8              \
	JB   few        \
	MOVQ R9, CX              \
	ANDQ $7, CX              \
	MOVQ (SI), DX            \
	ADDQ CX, SI              \
	SHLQ $3, CX              \
	XORQ AX, DX              \
	SHRQ CX, AX              \
	XORQ $56, CX             \
	SHLQ $8, DX              \
	SHLQ CX, DX              \
	XORL R10, R10            \
	CRC32Q DX, R10           \
	XORQ R10, AX             \
	SHRQ $3, R9              \
	SUBQ $4, R9              \
	JB   rest       \
four:               \
	CRC32Q (SI), AX          \
	CRC32Q 8(SI), AX         \
	CRC32Q 16(SI), AX        \
	CRC32Q 24(SI), AX        \
	ADDQ $32, SI             \
	SUBQ $4, R9              \
	JAE  four       \
rest:               \
	TESTQ $2, R9             \
	JZ   one        \
	CRC32Q (SI), AX          \
	CRC32Q 8(SI), AX         \
	ADDQ $16, SI             \
one:                \
	TESTQ $1, R9             \
	JZ   done       \
	CRC32Q (SI), AX          \
	JMP  done       \
few:                \
	TESTQ $4, R9             \
	JZ   two        \
	CRC32L (SI), AX          \
	ADDQ $4, SI              \
two:                \
	TESTQ $2, R9             \
	JZ   byte       \
	CRC32W (SI), AX          \
	ADDQ $2, SI              \
byte:               \
	TESTQ $1, R9             \
	JZ   done       \
	CRC32B (SI), AX          \
done:

// func serial(crc uint32, p *byte, n int) uint32
TEXT ·serial(SB), NOSPLIT, $0-28
	MOVL crc+0(FP), AX
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), R9
	SERIAL
	MOVL AX, ret+24(FP)
	RET

// func serialRecord(crc uint32, p *byte, n int, header *byte) uint32
TEXT ·serialRecord(SB), NOSPLIT, $0-36
	MOVL crc+0(FP), AX
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), R9
	MOVQ header+24(FP), DI
	SERIAL
	CRC32Q (DI), AX
	CRC32Q 8(DI), AX
	CRC32L 16(DI), AX
	NOTL AX
	MOVL AX, ret+32(FP)
	RET

// To fold 128 bits over d bits, their lower half is multiplied by
// x^(d+32) mod P and their upper one by x^(d-32) mod P, each bit-reflected and
// shifted left by one. TestConstants computes them again.
#define PAIR(name, at, lo, hi) \
	DATA name<>+(at)(SB)/8, $lo    \
	DATA name<>+(at+8)(SB)/8, $hi

// over2048: 256 bytes, in each lane.
PAIR(over2048, 0, 0x0dcb17aa4, 0x0b9e02b86)
PAIR(over2048, 16, 0x0dcb17aa4, 0x0b9e02b86)
PAIR(over2048, 32, 0x0dcb17aa4, 0x0b9e02b86)
PAIR(over2048, 48, 0x0dcb17aa4, 0x0b9e02b86)
GLOBL over2048<>(SB), RODATA|NOPTR, $64

// over512: 64 bytes, in each lane.
PAIR(over512, 0, 0x0740eef02, 0x09e4addf8)
PAIR(over512, 16, 0x0740eef02, 0x09e4addf8)
PAIR(over512, 32, 0x0740eef02, 0x09e4addf8)
PAIR(over512, 48, 0x0740eef02, 0x09e4addf8)
GLOBL over512<>(SB), RODATA|NOPTR, $64

// lanes: to the last of four lanes, which stays.
PAIR(lanes, 0, 0x01c291d04, 0x1d82c63da)
PAIR(lanes, 16, 0x1384aa63a, 0x0ba4fc28e)
PAIR(lanes, 32, 0x0f20c0dfe, 0x14cd00bd6)
PAIR(lanes, 48, 0, 0)
GLOBL lanes<>(SB), RODATA|NOPTR, $64

// FOLD folds z by the constants k onto with, which may be memory, into z.
// It changes Z8 and Z9.
#define FOLD(k, with, z) \
	VPCLMULQDQ $0x00, k, z, Z8     \
	VPCLMULQDQ $0x11, k, z, Z9     \
	VMOVDQU64 with, z              \
	VPTERNLOGQ $0x96, Z8, Z9, z // all three xored

// func fold(crc uint32, p *byte, n int) uint32
TEXT ·fold(SB), NOSPLIT, $0-28
	MOVL crc+0(FP), AX
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), R9
	VMOVDQU64 over512<>(SB), Z5
	VMOVD AX, X4                      // clears the rest
	VPXORQ (SI), Z4, Z0
	CMPQ R9, $512
	JB   short
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	VMOVDQU64 over2048<>(SB), Z6
	ADDQ $256, SI
	SUBQ $512, R9                     // is there another step after this one?
wide:
	PREFETCHT0 2048(SI)
	PREFETCHT0 2112(SI)
	PREFETCHT0 2176(SI)
	PREFETCHT0 2240(SI)
	VPCLMULQDQ $0x00, Z6, Z0, Z8
	VPCLMULQDQ $0x11, Z6, Z0, Z0
	VPCLMULQDQ $0x00, Z6, Z1, Z9
	VPCLMULQDQ $0x11, Z6, Z1, Z1
	VPCLMULQDQ $0x00, Z6, Z2, Z10
	VPCLMULQDQ $0x11, Z6, Z2, Z2
	VPCLMULQDQ $0x00, Z6, Z3, Z11
	VPCLMULQDQ $0x11, Z6, Z3, Z3
	VPTERNLOGQ $0x96, (SI), Z8, Z0
	VPTERNLOGQ $0x96, 64(SI), Z9, Z1
	VPTERNLOGQ $0x96, 128(SI), Z10, Z2
	VPTERNLOGQ $0x96, 192(SI), Z11, Z3
	ADDQ $256, SI
	SUBQ $256, R9
	JAE  wide
	FOLD(Z5, Z1, Z0)
	FOLD(Z5, Z2, Z0)
	FOLD(Z5, Z3, Z0)
	ADDQ $256, R9                     // what is left, less than 256
	JMP  next
short:
	ADDQ $64, SI
	SUBQ $64, R9
next:
	SUBQ $64, R9
	JB   last
	FOLD(Z5, (SI), Z0)
	ADDQ $64, SI
	JMP  next
last:
	VMOVDQU64 lanes<>(SB), Z7
	VEXTRACTI32X4 $3, Z0, X4
	VPCLMULQDQ $0x00, Z7, Z0, Z8
	VPCLMULQDQ $0x11, Z7, Z0, Z9
	VPXORQ Z8, Z9, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPXORQ Y1, Y0, Y0
	VEXTRACTI32X4 $1, Y0, X1
	VPTERNLOGQ $0x96, X1, X4, X0
	VMOVQ X0, DX                      // the 16 bytes left have the CRC of all
	VPEXTRQ $1, X0, CX
	VZEROUPPER
	XORL AX, AX
	CRC32Q DX, AX
	CRC32Q CX, AX
	MOVL AX, ret+24(FP)
	RET
