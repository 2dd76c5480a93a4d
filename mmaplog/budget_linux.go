package mmaplog

import (
	"os"
	"strconv"
	"strings"
)

// mapLimit is how many maps the system lets a process have.
func mapLimit() int64 {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return usualMaps
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n < 1 {
		return usualMaps
	}
	return n
}
