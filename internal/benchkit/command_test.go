package benchkit

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// sampleVariable makes this test binary a case of its own: what it holds says how it behaves.
const sampleVariable = "LEAT_BENCHKIT_SAMPLE"

// sampleProcess is that process.
func sampleProcess(behaviour string) {
	switch behaviour {
	case "good":
		os.Stdout.WriteString("warming up\n" + `{"ops":5,"rate":2.5,"lost":1,"missed_rate":0.5,"sum_wrong":true,` +
			`"latency_us":{"count":3,"p50":0.05,"p99":1,"p999":2,"max":3},"unknown":1}` + "\n\n")
	case "garbage":
		os.Stdout.WriteString("Error: could not find or load main class\n")
	case "silence":
	case "failure":
		os.Stderr.WriteString("out of memory\n")
		os.Exit(3)
	case "hang":
		os.Stderr.WriteString("waiting for a peer\n")
		select {}
	case "flood":
		os.Stdout.WriteString(strings.Repeat(strings.Repeat("x", 1023)+"\n", 4000) + `{"rate":1}`)
	}
}

func itself(t *testing.T, behaviour string) *Command {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Command{Path: program, Env: []string{sampleVariable + "=" + behaviour}}
}

func TestCommand(t *testing.T) {
	got, err := itself(t, "good").Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Ops != 5 || got.Rate != 2.5 || got.Lost != 1 || got.MissedRate != 0.5 || !got.SumWrong ||
		got.Latency == nil || got.Latency.P50 != 0.05 || got.Latency.Max != 3 {
		t.Errorf("sample %+v; want what the process printed", got)
	}
	if got, err := itself(t, "flood").Run(t.Context()); err != nil || got.Rate != 1 {
		t.Errorf("after 4 MB of other lines: %+v, %v; want the last line", got, err)
	}
}

func TestCommandThatFails(t *testing.T) {
	for behaviour, want := range map[string]string{
		"garbage": `printed "Error: could not find or load main class": want one line of JSON`,
		"silence": `printed "": want one line of JSON`,
		"failure": `exit status 3; standard error ends with "out of memory"`,
	} {
		if _, err := itself(t, behaviour).Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Run = %v; want %q", behaviour, err, want)
		}
	}
}

func TestCommandThatHangs(t *testing.T) {
	c := itself(t, "hang")
	c.Timeout = 300 * time.Millisecond
	_, err := c.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "gave no sample within 300ms and was killed") {
		t.Errorf("Run = %v; want its time to be over", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c.Timeout = time.Minute
	if _, err := c.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run with an ended context = %v; want its error", err)
	}
}

func TestCommandThatIsNotInstalled(t *testing.T) {
	var skip *SkipError
	if _, err := (&Command{Path: "no-such-program-of-leat"}).Run(t.Context()); !errors.As(err, &skip) {
		t.Errorf("Run = %v; want a SkipError", err)
	}
	c := &Command{Prepare: func(context.Context, *Command) error { return Skipf("no %s", "jar") }}
	if _, err := c.Run(t.Context()); !errors.As(err, &skip) || skip.Why != "no jar" {
		t.Errorf("Run = %v; want the SkipError of Prepare", err)
	}
	c.Prepare = func(_ context.Context, c *Command) error { *c = *itself(t, "good"); return nil }
	if got, err := c.Run(t.Context()); err != nil || got.Rate != 2.5 {
		t.Errorf("Run = %+v, %v; want what Prepare made", got, err)
	}
}

// TestCommandIsACase: one process per round, and one that hangs takes the case out.
func TestCommandIsACase(t *testing.T) {
	good := itself(t, "flood")
	bad := itself(t, "garbage")
	report := runFake(t, &fakeMachine{}, Scenario{Cases: []Case{
		{Name: "good", Role: Peer, Command: good}, {Name: "bad", Role: Peer, Command: bad},
	}})
	if len(report.Rows) != 1 || len(report.Rows[0].Rounds) != 3 || report.Rows[0].AllocsPerOp != nil {
		t.Errorf("rows %+v; want one of three rounds, without allocations", report.Rows)
	}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "s: bad: ") {
		t.Errorf("Err = %v; want the case that printed garbage", err)
	}
}

func TestCompileC(t *testing.T) {
	dir := t.TempDir()
	const program = `#include <stdio.h>
int main(void) { puts("{\"rate\":7}"); return 0; }`
	path, err := CompileC(t.Context(), dir, "seven", program)
	var skip *SkipError
	if errors.As(err, &skip) {
		t.Skip(skip)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (&Command{Path: path}).Run(t.Context()); err != nil || got.Rate != 7 {
		t.Errorf("Run = %+v, %v; want a rate of 7", got, err)
	}
	if _, err := CompileC(t.Context(), dir, "broken", "int main("); err == nil ||
		!strings.Contains(err.Error(), "compile broken") {
		t.Errorf("CompileC of garbage = %v; want what the compiler says", err)
	}
}

func TestCanary(t *testing.T) {
	c, err := newCanary(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c.hop == nil {
		t.Skip(c.kind)
	}
	if _, err := exec.LookPath("cc"); (err == nil) != (c.kind == "C") {
		t.Errorf("canary %q although looking for cc gives %v", c.kind, err)
	}
	for name, hop := range map[string]func(context.Context) (float64, error){c.kind: c.hop, "Go": goPingPong} {
		nanos, err := hop(t.Context())
		t.Logf("%s: %.1f ns per hop", name, nanos)
		if err != nil || nanos < 1 || nanos > 1e7 {
			t.Errorf("%s: hop %v, %v; want nanoseconds", name, nanos, err)
		}
	}
}

func TestCanaryWithoutACompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c, err := newCanary(t.Context(), t.TempDir())
	if err != nil || !strings.HasPrefix(c.kind, "Go: no C compiler") && c.hop != nil {
		t.Errorf("canary %q, %v; want the one in Go, with the reason", c.kind, err)
	}
}

func TestCanaryStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := goPingPong(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("goPingPong = %v; want %v", err, context.Canceled)
	}
	if _, err := newGuard(ctx, GuardOptions{}, t.TempDir(), func() int64 { return 0 }); err == nil {
		t.Error("newGuard with an ended context = nil; want its error")
	}
}
