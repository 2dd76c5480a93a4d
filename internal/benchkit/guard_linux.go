package benchkit

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tickNanos is the unit of /proc/stat: USER_HZ is 100 on every Linux that Go runs on.
const tickNanos = int64(10e6)

// readMachineUse reads /proc/stat and what this process and its children used.
func readMachineUse() (u machineUse, ok bool) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, false
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	u, ok = parseStat(string(line))
	if !ok {
		return u, false
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var use unix.Rusage
		if err := unix.Getrusage(who, &use); err != nil {
			return u, false
		}
		u.own += use.Utime.Nano() + use.Stime.Nano()
	}
	u.own += livingChildren(os.Getpid()) * tickNanos
	if comm, err := os.ReadFile("/proc/2/comm"); err == nil && string(comm) == "kthreadd\n" {
		// Threads of the kernel write to the disk what this process left to them.
		u.own += livingChildren(2) * tickNanos
	}
	return u, true
}

// parseStat reads the line of all processors. source: proc_stat(5): cpu user nice system idle iowait irq
// softirq steal guest guest_nice, where guest is part of user.
func parseStat(line string) (u machineUse, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return u, false
	}
	var ticks [8]int64
	for i := range ticks {
		n, err := strconv.ParseInt(fields[i+1], 10, 64)
		if err != nil {
			return u, false
		}
		ticks[i] = n * tickNanos
		u.total += ticks[i]
	}
	u.steal = ticks[7]
	u.busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]
	return u, true
}

// livingChildren sums the ticks of all descendants of a process that were not waited for yet.
func livingChildren(pid int) int64 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	children := make(map[int][]int)
	ticks := make(map[int]int64)
	for _, entry := range entries {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent, used, ok := processTicks(id); ok {
			children[parent] = append(children[parent], id)
			ticks[id] = used
		}
	}
	sum := int64(0)
	for open := children[pid]; len(open) > 0; {
		id := open[0]
		open = append(open[1:], children[id]...)
		sum += ticks[id]
	}
	return sum
}

// processTicks reads the parent of a process and the ticks that it and its ended children used. source:
// proc_pid_stat(5): pid (comm) state ppid …; utime is field 14, then stime, cutime, cstime.
func processTicks(pid int) (parent int, ticks int64, ok bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The name may hold anything, a closing bracket too.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 15 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return 0, 0, false
	}
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		ticks += n
	}
	return parent, ticks, true
}
