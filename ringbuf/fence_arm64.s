//go:build arm64 && !leat_noasm

#include "textflag.h"

// func fenceStores()
TEXT ·fenceStores(SB), NOSPLIT, $0-0
	DMB $0xa // ISHST
	RET
