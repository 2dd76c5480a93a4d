package refscan

import "hash/crc32"

// checkpoint is what the state file says of the log: everything before a place in a segment was durable.
type checkpoint struct {
	place
	segment, at uint64
	clean       bool
}

// readState reads a state file; nil if it is not usable or has no checkpoint.
func readState(b []byte) *checkpoint {
	if len(b) < 1024 || string(b[:8]) != "LEATSTAT" || le.Uint32(b[8:]) != 2 || b[28]&1 == 0 {
		return nil
	}
	sum := crc32.Update(crc32.Checksum(b[:12], table), table, b[16:512])
	if crc32.Update(sum, table, b[1024:]) != le.Uint32(b[12:]) {
		return nil
	}
	c := &checkpoint{segment: le.Uint64(b[56:]), at: le.Uint64(b[64:])}
	c.place = place{le.Uint64(b[72:]), le.Uint64(b[80:]), uint64(le.Uint32(b[96:])), le.Uint64(b[88:]),
		uint64(le.Uint32(b[100:]))}
	c.clean = string(b[512:520]) == "LEATCLEA" && le.Uint32(b[520:]) == le.Uint32(b[12:]) &&
		crc32.Checksum(b[512:524], table) == le.Uint32(b[524:])
	return c
}
