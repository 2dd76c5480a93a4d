package mmaplog

// BootID tells one start of the machine from another: what the page cache holds survives a process, not a
// boot. Zero means that the system does not tell, and is different from everything, itself included.
type BootID [16]byte

// same reports whether the machine was not started between a and b.
func (a BootID) same(b BootID) bool { return a != BootID{} && a == b }
