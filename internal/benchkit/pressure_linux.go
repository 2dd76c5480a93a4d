package benchkit

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readPressure reads the counters of this moment.
func readPressure() *Pressure {
	p := &Pressure{
		CPUSeconds: stalled("cpu"),
		IOSeconds:  stalled("io"),
		MemSeconds: stalled("memory"),
		Switches:   switches(),
	}
	p.use, _ = readMachineUse()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err == nil {
		p.Voluntary, p.Involuntary = int64(use.Nvcsw), int64(use.Nivcsw)
	}
	return p
}

// stalled reads the seconds in which some task waited for a resource. source: Linux,
// Documentation/accounting/psi.rst: "some avg10=… avg60=… avg300=… total=<microseconds>".
func stalled(resource string) float64 {
	text, err := os.ReadFile("/proc/pressure/" + resource)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	_, total, ok := strings.Cut(line, "total=")
	micros, err := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil {
		return 0
	}
	return float64(micros) / 1e6
}

func switches() int64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if count, ok := strings.CutPrefix(lines.Text(), "ctxt "); ok {
			n, _ := strconv.ParseInt(count, 10, 64)
			return n
		}
	}
	return 0
}
