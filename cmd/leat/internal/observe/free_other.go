//go:build !linux && !darwin

package observe

import "errors"

var errNoFreeSpace = errors.New("free space is not known on this system")

// freeBytes knows nothing about this system.
func freeBytes(string) (uint64, error) { return 0, errNoFreeSpace }
