package mmaplog

import (
	"encoding/hex"
	"os"
	"strings"
)

// BootID is the kernel's random boot id.
func (osFS) BootID() BootID {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return BootID{}
	}
	return parseBootID(string(text))
}

// parseBootID reads a UUID as the kernel prints it; zero if it is not one.
func parseBootID(text string) (id BootID) {
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), "-", ""))
	if err != nil || len(raw) != len(id) {
		return BootID{}
	}
	return BootID(raw)
}
