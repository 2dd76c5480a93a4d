//go:build !linux

package benchkit

// readMachineUse needs /proc.
func readMachineUse() (u machineUse, ok bool) { return u, false }
