package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// fakeGo answers for the go command: outputs by first argument, failures by a part of the call.
type fakeGo struct {
	outputs map[string]string
	failing string
	calls   []string
}

func (f *fakeGo) checker() *checker {
	return &checker{fuzzRuns: 5, run: f.run, output: f.output}
}

func (f *fakeGo) run(_ context.Context, args ...string) error {
	call := strings.Join(args, " ")
	f.calls = append(f.calls, call)
	if f.failing != "" && strings.Contains(call, f.failing) {
		return errors.New("exit status 1")
	}
	return nil
}

func (f *fakeGo) output(_ context.Context, args ...string) (string, error) {
	return f.outputs[args[0]], nil
}

func TestFuzzTargets(t *testing.T) {
	listed := "?   \tm/a\t[no test files]\nok  \tm/b\t0.1s\nFuzzOne\nFuzzTwo\nok  \tm/c\t0.2s\n" +
		"some words of TestMain\nFuzzThree\nok  \tm\t(cached)\n"
	want := []fuzzTarget{{"m/c", "FuzzOne"}, {"m/c", "FuzzTwo"}, {"m", "FuzzThree"}}
	if got := fuzzTargets(listed); !slices.Equal(got, want) {
		t.Errorf("fuzzTargets = %v, want %v", got, want)
	}
}

func TestFuzzRunsEveryTargetAndNamesTheFailing(t *testing.T) {
	fake := &fakeGo{
		outputs: map[string]string{"test": "FuzzOne\nFuzzTwo\nok  \tm/c\t0.2s\n"},
		failing: "FuzzOne",
	}
	err := fuzz(t.Context(), fake.checker())
	if err == nil || !strings.Contains(err.Error(), "FuzzOne in m/c") {
		t.Errorf("fuzz = %v, want an error that names FuzzOne in m/c", err)
	}
	want := []string{
		"test -run=^$ -fuzz=^FuzzOne$ -fuzztime=5x m/c",
		"test -run=^$ -fuzz=^FuzzTwo$ -fuzztime=5x m/c",
	}
	if !slices.Equal(fake.calls, want) {
		t.Errorf("ran %q, want %q", fake.calls, want)
	}
	if err := fuzz(t.Context(), (&fakeGo{}).checker()); err == nil {
		t.Error("fuzz without a target = nil, want an error")
	}
}

func TestRaceTakesWhatExists(t *testing.T) {
	fake := &fakeGo{outputs: map[string]string{
		"env":  "1\ngo\n", // any program that is surely there
		"list": modulePath + "\n" + modulePath + "/core\n" + modulePath + "/routing\n",
	}}
	if err := race(t.Context(), fake.checker()); err != nil {
		t.Fatal(err)
	}
	want := "test -race -short -count=1 -timeout=10m " + modulePath + "/core " + modulePath
	if len(fake.calls) != 1 || fake.calls[0] != want {
		t.Errorf("ran %q, want %q", fake.calls, want)
	}
}

func TestRaceSkipsWithAReason(t *testing.T) {
	tests := []struct{ name, env, want string }{
		{"cgo off", "0\ngcc\n", "cgo"},
		{"no compiler", "1\n\n", "CC names none"},
		{"a compiler that is not there", "1\nno-such-compiler -m64\n", "no-such-compiler"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := &fakeGo{outputs: map[string]string{"env": tt.env}}
			err := race(t.Context(), fake.checker())
			if !errors.Is(err, errSkipped) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("race = %v, want it skipped because of %q", err, tt.want)
			}
			if len(fake.calls) > 0 {
				t.Errorf("ran %q although skipped", fake.calls)
			}
		})
	}
}

func TestSchemathesisNeedsPython(t *testing.T) {
	fake := &fakeGo{}
	c := fake.checker()
	printed := ""
	c.output = func(ctx context.Context, args ...string) (string, error) {
		return printed, fake.run(ctx, args...)
	}
	c.look = func(string) error { return errors.New("not found") }
	if err := schemathesis(t.Context(), c); !errors.Is(err, errSkipped) || len(fake.calls) > 0 {
		t.Errorf("without Python: %v, and ran %q", err, fake.calls)
	}
	c.look = func(string) error { return nil }
	if err := schemathesis(t.Context(), c); err != nil || len(fake.calls) != 1 ||
		!strings.HasSuffix(fake.calls[0], "./gateway/http -schemathesis") {
		t.Errorf("with Python: %v, and ran %q", err, fake.calls)
	}
	printed = "=== RUN   TestSchemathesis\n--- SKIP: TestSchemathesis (0.10s)\nPASS\n"
	if err := schemathesis(t.Context(), c); !errors.Is(err, errSkipped) {
		t.Errorf("a test that is skipped: %v", err)
	}
	fake.failing = "schemathesis"
	if err := schemathesis(t.Context(), c); err == nil || errors.Is(err, errSkipped) {
		t.Errorf("a finding: %v", err)
	}
}

func TestStepsRunOnAfterAFailure(t *testing.T) {
	result := func(err error) func(context.Context, *checker) error {
		return func(context.Context, *checker) error { return err }
	}
	tests := []struct {
		name   string
		first  error
		ok     bool
		inLine []string
	}{
		{"all well", nil, true, []string{"check: ok", "first ok", "second ok"}},
		{"a failure", errors.New("broken"), false, []string{"check: FAILED", "first FAILED", "second ok"}},
		{"a skip", errSkipped, true, []string{"check: ok", "first SKIPPED", "second ok"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			summary, ok := (&checker{}).runSteps(t.Context(),
				[]step{{"first", result(tt.first)}, {"second", result(nil)}})
			if ok != tt.ok {
				t.Errorf("ok = %t, want %t", ok, tt.ok)
			}
			for _, part := range tt.inLine {
				if !strings.Contains(summary, part) {
					t.Errorf("summary %q, want it to contain %q", summary, part)
				}
			}
			if strings.Contains(summary, "\n") {
				t.Errorf("summary %q has more than one line", summary)
			}
		})
	}
}

func TestRunRefusesUnknownCommands(t *testing.T) {
	for _, args := range [][]string{nil, {"tset"}, {"test", "-no-such-flag"}} {
		if got := run(t.Context(), args); got != 2 {
			t.Errorf("run(%q) = %d, want 2", args, got)
		}
	}
}

// TestCheckTestRunsEverything: what CI runs contains the steps of all other commands.
func TestCheckTestRunsEverything(t *testing.T) {
	var all []string
	for _, step := range steps["test"] {
		all = append(all, step.name)
	}
	for command := range steps {
		for _, step := range steps[command] {
			if !slices.Contains(all, step.name) {
				t.Errorf("step %s of check %s is not part of check test", step.name, command)
			}
		}
	}
	if last := all[len(all)-1]; last != "test" {
		t.Errorf("the last step is %s, want test: its lines end the log", last)
	}
}

func TestBench(t *testing.T) {
	fake := &fakeGo{}
	if err := bench(t.Context(), fake.checker()); err != nil {
		t.Fatal(err)
	}
	want := []string{"-C bench mod download", "-C bench vet ./...", "-C bench test -count=1 ./..."}
	if !slices.Equal(fake.calls, want) {
		t.Errorf("bench called %q, want %q", fake.calls, want)
	}
	offline := &fakeGo{failing: "download"}
	if err := bench(t.Context(), offline.checker()); !errors.Is(err, errSkipped) || len(offline.calls) != 1 {
		t.Errorf("bench without modules = %v after %q, want it skipped", err, offline.calls)
	}
	broken := &fakeGo{failing: "test"}
	if err := bench(t.Context(), broken.checker()); err == nil || errors.Is(err, errSkipped) {
		t.Errorf("bench whose tests fail = %v, want an error", err)
	}
}

// TestPorts: arm64 is run where it can be emulated, and the race detector used where there is one.
func TestPorts(t *testing.T) {
	fake := &fakeGo{outputs: map[string]string{"env": "1\ngo\n"}}
	c := fake.checker()
	c.look = func(name string) error {
		if name == "qemu-aarch64" {
			return nil
		}
		return errors.New("not found")
	}
	if err := ports(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(fake.calls, "\n")
	for _, want := range []string{
		"-tags=leat_noasm", "GOARCH=arm64 test -exec=qemu-aarch64 ", "-race", "-cpu=1,2,4",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("ports called %q, want %s in it", fake.calls, want)
		}
	}
	bare := &fakeGo{outputs: map[string]string{"env": "0\n\n"}, failing: "noasm"}
	c = bare.checker()
	c.look = func(string) error { return errors.New("not found") }
	if err := ports(t.Context(), c); err == nil {
		t.Error("ports passed although the tests without assembly failed")
	}
	all = strings.Join(bare.calls, "\n")
	if strings.Contains(all, "-exec") || strings.Contains(all, "-race") || len(c.notes) != 2 {
		t.Errorf("ports called %q and noted %q", bare.calls, c.notes)
	}
}
