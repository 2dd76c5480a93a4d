package benchkit

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func TestParseStat(t *testing.T) {
	got, ok := parseStat("cpu  10 2 3 100 5 7 8 9 0 0")
	want := machineUse{total: 144 * 10e6, busy: 30 * 10e6, steal: 9 * 10e6}
	if !ok || got != want {
		t.Errorf("parseStat = %+v, %v; want %+v", got, ok, want)
	}
	for _, line := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9 10", "cpu 1 2 x 4 5 6 7 8 9 10"} {
		if _, ok := parseStat(line); ok {
			t.Errorf("parseStat(%q) = true; want false", line)
		}
	}
}

// spin uses the processor.
func spin(d time.Duration) {
	for start := clock.System.Mono(); clock.System.Mono()-start < int64(d); {
	}
}

func TestOwnUse(t *testing.T) {
	before, ok := readMachineUse()
	if !ok {
		t.Skip("no /proc/stat")
	}
	used := int64(0)
	for end := clock.System.Mono() + int64(20*time.Second); used == 0 && clock.System.Mono() < end; {
		after, _ := readMachineUse() // counts in hundredths of a second
		used = after.minus(before).own
	}
	if used <= 0 {
		t.Errorf("used %d ns while spinning for 20 s", used)
	}
}

// TestLivingChildren: what a child uses that was not waited for counts as ours.
func TestLivingChildren(t *testing.T) {
	command := exec.Command("sh", "-c", "while :; do :; done")
	if err := command.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	for end := clock.System.Mono() + int64(20*time.Second); livingChildren(os.Getpid()) == 0; {
		if clock.System.Mono() > end {
			t.Fatal("a child that spins used nothing within 20 s")
		}
	}
	if parent, _, ok := processTicks(command.Process.Pid); !ok || parent != os.Getpid() {
		t.Errorf("parent of the child = %d, %v; want %d", parent, ok, os.Getpid())
	}
}

func TestPressure(t *testing.T) {
	before := readPressure()
	spin(10 * time.Millisecond)
	got := readPressure().minus(before)
	if got.Switches < 0 || got.CPUSeconds < 0 || got.StealShare < 0 || got.StealShare > 1 {
		t.Errorf("pressure %+v; want nothing below 0", got)
	}
}
