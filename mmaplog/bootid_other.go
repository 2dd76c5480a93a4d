//go:build !linux

package mmaplog

// BootID is unknown outside Linux.
func (osFS) BootID() BootID { return BootID{} }
