// Package crc32c is CRC-32C (Castagnoli, RFC 3720 appendix B.4) for short inputs: the same values as
// hash/crc32, sooner.
//
//	p ──▶ ┃ first third ┃ second third ┃ last third ┃ rest ┃
//	           crc A          crc B         crc C
//	           └── · x^2L ──▶ + ◀── · x^L ──┘ + C ──▶ rest, 8 bytes at a time
//
// The CRC32 instruction takes three cycles and another can begin in each, so a chain of them is idle for
// two of three. hash/crc32 runs three chains from 512 bytes on, of two fixed lengths; here they are as long
// as a third of the input, whatever it is, and joined by a multiplication without carries (Gopal et al., Fast
// CRC Computation for iSCSI Polynomial Using CRC32 Instruction, Intel 2011). SumAndSeal also has the checksum
// of a frame's header under way meanwhile.
//
// On other processors, on amd64 without SSE 4.2 or PCLMULQDQ, and with the build tag leat_noasm everything
// is done by hash/crc32.
//
// # Invariants
//
//   - Every function gives what hash/crc32 gives for the same bytes.
//   - Nothing is allocated, and arguments do not escape.
//
// # Ownership
//
// There is no state but a table that is filled when the program starts. Any goroutine may call anything.
//
// # Failure
//
// Nothing fails.
package crc32c
