package benchkit

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// meter measures the processor time of this process and of a server.
type meter struct {
	pid            int
	client, server int64
}

// netUse is processor time in nanoseconds.
type netUse struct{ client, server int64 }

func startMeter(serverPID int) *meter {
	client, _, _ := processUse() // 0 where it cannot be read
	return &meter{pid: serverPID, client: client, server: processorOf(serverPID)}
}

func (m *meter) stop() netUse {
	client, _, _ := processUse()
	return netUse{client: client - m.client, server: processorOf(m.pid) - m.server}
}

// processorOf reads the time a process has run on processors; 0 if it cannot be read (proc(5), schedstat
// of each thread).
func processorOf(pid int) int64 {
	var total int64
	eachThread(pid, func(thread string) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, thread))
		if err != nil {
			return // it has ended
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		nanos, _ := strconv.ParseInt(string(first), 10, 64)
		total += nanos
	})
	return total
}

func eachThread(pid int, visit func(thread string)) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return
	}
	for _, thread := range threads {
		visit(thread.Name())
	}
}

// residentOf reads the resident memory of a process.
func residentOf(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(statm), &total, &resident); err != nil {
		return 0, fmt.Errorf("benchkit: statm %q: %w", statm, err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// pinTogether keeps every thread of this process and of another on the first core both may use, until the
// returned function is called.
func pinTogether(pid int) (unpin func(), pinned bool) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return func() {}, false
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	set := func(cpus *unix.CPUSet) bool {
		ok := true
		for _, process := range []int{os.Getpid(), pid} {
			eachThread(process, func(thread string) {
				id, _ := strconv.Atoi(thread)
				ok = unix.SchedSetaffinity(id, cpus) == nil && ok
			})
		}
		return ok
	}
	return func() { set(&all) }, set(&one)
}
