// Package wire is the codec of the QUIC protocol: frame headers, the binary bodies of the hot path, and
// the JSON bodies with which streams open. docs/protocol.md describes the protocol; this package only
// turns it into bytes and back. It does no I/O and keeps nothing.
//
//	0 length u32 │ 4 type u8 │ 5 flags u8 │ 6 aux u16 │ 8 arg u64 │ 16 payload, length bytes
//
// All integers are little endian. A log frame travels verbatim as a payload. Decoders check every length
// before they use it, never panic and never allocate more than a bounded multiple of their input.
package wire
