//go:build amd64 && !leat_noasm

#include "textflag.h"

// add adds the CX bytes from SI on to AX. It changes BX, CX, DX, DI, SI, R8 to R11 and X0 to X2.
TEXT add<>(SB), NOSPLIT|NOFRAME, $0-0
next:
	CMPQ CX, $128 // below, joining the chains takes longer than they save
	JB   words
	MOVQ $128, DX // words of each chain: CX / 24, at most 128
	CMPQ CX, $3072
	JAE  three
	IMUL3Q $2731, CX, DX // 2731 / 2^16 is 1/24, exact for CX below 3072
	SHRQ $16, DX

three:
	LEAQ (SI)(DX*8), SI // the ends of the chains; BX counts up to 0
	LEAQ (SI)(DX*8), R8
	LEAQ (R8)(DX*8), R9
	XORL R10, R10
	XORL R11, R11
	MOVQ DX, BX
	NEGQ BX

chains:
	CRC32Q (SI)(BX*8), AX
	CRC32Q (R8)(BX*8), R10
	CRC32Q (R9)(BX*8), R11
	INCQ   BX
	JNZ    chains

	MOVQ  DX, BX
	SHLQ  $4, BX
	LEAQ  ·shifts(SB), DI
	MOVOU (DI)(BX*1), X0
	MOVQ  AX, X1
	MOVQ  R10, X2
	PCLMULQDQ $0x10, X0, X1 // the first third goes two chains on
	PCLMULQDQ $0x00, X0, X2 // the second one
	PXOR   X2, X1
	MOVQ   X1, DI
	XORL   AX, AX
	CRC32Q DI, AX
	XORL   R11, AX
	MOVQ   R9, SI
	LEAQ   (DX)(DX*2), DX
	SHLQ   $3, DX
	SUBQ   DX, CX
	JMP    next

words:
	SUBQ $8, CX
	JB   bytes

word:
	CRC32Q (SI), AX
	ADDQ   $8, SI
	SUBQ   $8, CX
	JAE    word

bytes:
	ADDQ $8, CX
	JZ   done

byte:
	CRC32B (SI), AX
	INCQ   SI
	DECQ   CX
	JNZ    byte

done:
	RET

// func update(crc uint32, p []byte) uint32
TEXT ·update(SB), NOSPLIT, $8-36
	MOVL crc+0(FP), AX
	MOVQ p_base+8(FP), SI
	MOVQ p_len+16(FP), CX
	CALL add<>(SB)
	MOVL AX, ret+32(FP)
	RET

// func header(crc uint32, header *[64]byte) uint32
TEXT ·header(SB), NOSPLIT, $0-20
	MOVL   crc+0(FP), AX
	MOVQ   header+8(FP), SI
	CRC32L (SI), AX
	CRC32Q 8(SI), AX
	CRC32Q 16(SI), AX
	CRC32Q 24(SI), AX
	CRC32Q 32(SI), AX
	CRC32Q 40(SI), AX
	CRC32Q 48(SI), AX
	CRC32Q 56(SI), AX
	MOVL   AX, ret+16(FP)
	RET

// func seal(w *Words, crc uint32)
TEXT ·seal(SB), NOSPLIT, $0-12
	MOVQ   w+0(FP), SI
	MOVL   crc+8(FP), AX
	CRC32L (SI), AX
	CRC32Q 8(SI), AX
	CRC32Q 16(SI), AX
	CRC32Q 24(SI), AX
	CRC32Q 32(SI), AX
	CRC32Q 40(SI), AX
	CRC32Q 48(SI), AX
	CRC32Q 56(SI), AX
	NOTL   AX
	MOVL   (SI), DX // whole, so that whoever loads the word need not wait for two stores
	SHLQ   $32, AX
	ORQ    DX, AX
	MOVQ   AX, (SI)
	RET

// func sumAndSeal(w *Words, crc uint32, payload []byte) uint32
//
// The header's words before the payload's checksum are a chain of their own, which the processor works on beside
// the others.
TEXT ·sumAndSeal(SB), NOSPLIT, $8-44
	MOVQ   w+0(FP), R12
	MOVL   crc+8(FP), R13
	CRC32L (R12), R13
	CRC32Q 8(R12), R13
	CRC32Q 16(R12), R13
	CRC32Q 24(R12), R13
	CRC32Q 32(R12), R13
	CRC32Q 40(R12), R13
	MOVL   $-1, AX
	MOVQ   payload_base+16(FP), SI
	MOVQ   payload_len+24(FP), CX
	CALL   add<>(SB)
	NOTL   AX
	MOVL   AX, ret+40(FP)
	ORQ    48(R12), AX
	MOVQ   AX, 48(R12)
	CRC32Q AX, R13
	CRC32Q 56(R12), R13
	NOTL   R13
	MOVL   (R12), DX
	SHLQ   $32, R13
	ORQ    R13, DX
	MOVQ   DX, (R12)
	RET

// func copySumAndSeal(w *Words, crc uint32, dst *byte, payload []byte) uint32
//
// sumAndSeal for lengths that are a multiple of 8, from 128 to below 3072, which stores each word that it sums.
TEXT ·copySumAndSeal(SB), NOSPLIT, $0-52
	MOVQ   w+0(FP), R12
	MOVL   crc+8(FP), R13
	CRC32L (R12), R13
	CRC32Q 8(R12), R13
	CRC32Q 16(R12), R13
	CRC32Q 24(R12), R13
	CRC32Q 32(R12), R13
	CRC32Q 40(R12), R13
	MOVL   $-1, AX
	MOVQ   dst+16(FP), R14
	MOVQ   payload_base+24(FP), SI
	MOVQ   payload_len+32(FP), DX
	SUBQ   SI, R14
	IMUL3Q $2731, DX, DX // as in add
	SHRQ   $16, DX
	LEAQ   (SI)(DX*8), SI // the ends of the chains, and where they go
	LEAQ   (SI)(DX*8), R8
	LEAQ   (R8)(DX*8), R9
	LEAQ   (SI)(R14*1), DI
	LEAQ   (R8)(R14*1), R15
	LEAQ   (R9)(R14*1), R14
	XORL   R10, R10
	XORL   R11, R11
	MOVQ   DX, BX
	NEGQ   BX

chains:
	MOVQ   (SI)(BX*8), CX
	MOVQ   CX, (DI)(BX*8)
	CRC32Q CX, AX
	MOVQ   (R8)(BX*8), CX
	MOVQ   CX, (R15)(BX*8)
	CRC32Q CX, R10
	MOVQ   (R9)(BX*8), CX
	MOVQ   CX, (R14)(BX*8)
	CRC32Q CX, R11
	INCQ   BX
	JNZ    chains

	MOVQ  DX, BX // join them, as in add
	SHLQ  $4, BX
	LEAQ  ·shifts(SB), DI
	MOVOU (DI)(BX*1), X0
	MOVQ  AX, X1
	MOVQ  R10, X2
	PCLMULQDQ $0x10, X0, X1
	PCLMULQDQ $0x00, X0, X2
	PXOR   X2, X1
	MOVQ   X1, DI
	XORL   AX, AX
	CRC32Q DI, AX
	XORL   R11, AX
	MOVQ   payload_len+32(FP), CX
	SHRQ   $3, CX
	LEAQ   (DX)(DX*2), DX
	SUBQ   DX, CX
	JZ     sealed

word:
	MOVQ   (R9), BX
	MOVQ   BX, (R14)
	CRC32Q BX, AX
	ADDQ   $8, R9
	ADDQ   $8, R14
	DECQ   CX
	JNZ    word

sealed:
	NOTL   AX
	MOVL   AX, ret+48(FP)
	ORQ    48(R12), AX
	MOVQ   AX, 48(R12)
	CRC32Q AX, R13
	CRC32Q 56(R12), R13
	NOTL   R13
	MOVL   (R12), DX
	SHLQ   $32, R13
	ORQ    R13, DX
	MOVQ   DX, (R12)
	RET
