package benchkit

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestMachineName(t *testing.T) {
	if got := machineName("AMD EPYC(TM) 7B13", 2); got != "amd-epyc-tm-7b13-2cpu" {
		t.Errorf("machineName = %q", got)
	}
}

func TestChosen(t *testing.T) {
	for choice, want := range map[string]string{"always [madvise] never": "madvise", "": "", "none": "none"} {
		if got := chosen(choice); got != want {
			t.Errorf("chosen(%q) = %q; want %q", choice, got, want)
		}
	}
}

func TestMitigations(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a": "Not affected\n", "b": "Mitigation: PTI\n", "c": "Vulnerable: no microcode\n", "d": "Not affected\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := mitigations(dir), "1 mitigated, 1 open, 2 not affected"; got != want {
		t.Errorf("mitigations = %q; want %q", got, want)
	}
	if got := mitigations(filepath.Join(dir, "absent")); got != "" {
		t.Errorf("mitigations of no folder = %q", got)
	}
}

func TestCaptureOnLinux(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("read from /proc and /sys")
	}
	e := Capture(t.TempDir())
	for name, value := range map[string]string{
		"machine": e.Machine, "memory": e.System.Memory,
	} {
		if value == "" {
			t.Errorf("no %s in %+v", name, e)
		}
	}
	t.Logf("%+v", e)
}
