package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socketBytesMin is what quic-go asks the system for, so that a burst of datagrams finds room.
const socketBytesMin = 7 << 20

// warnings tells what is slow or unsafe on this machine, and what helps.
func warnings(cfg *serveConfig) []string {
	var list []string
	if command := socketCommand(); command != "" {
		list = append(list, "small UDP buffers slow clients down: "+command)
	}
	var fs unix.Statfs_t
	if unix.Statfs(cfg.Node.Data, &fs) == nil && fs.Type == unix.TMPFS_MAGIC {
		list = append(list, "the data folder is in memory and gone after a restart of the machine: "+
			"give a folder on a disk with --data")
	}
	return list
}

// socketCommand raises the bounds of this system for socket buffers; empty if they are large enough.
func socketCommand() string {
	command := ""
	for _, name := range []string{"rmem_max", "wmem_max"} {
		text, err := os.ReadFile("/proc/sys/net/core/" + name)
		if err != nil {
			continue // not every container shows it
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n < socketBytesMin {
			command += fmt.Sprintf(" net.core.%s=%d", name, socketBytesMin)
		}
	}
	if command == "" {
		return ""
	}
	return "sysctl -w" + command
}
