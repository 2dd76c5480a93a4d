//go:build amd64 && !race && !leat_noasm

#include "textflag.h"

// func storeRelease(word unsafe.Pointer, v int64)
TEXT ·storeRelease(SB), NOSPLIT, $0-16
	MOVQ word+0(FP), AX
	MOVQ v+8(FP), CX
	MOVQ CX, (AX)
	RET
