package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

const modulePath = "github.com/leatbus/leat"

// racePackages share memory without locks, or own those that do. Under -race they use the heap seam.
var racePackages = []string{
	modulePath + "/ringbuf", modulePath + "/core", modulePath + "/mmaplog", modulePath,
	modulePath + "/actors", modulePath + "/node", modulePath + "/cluster",
	modulePath + "/transport", modulePath + "/transport/wire", modulePath + "/transport/certs",
	modulePath + "/internal/netfault",
	modulePath + "/gateway/http", modulePath + "/gateway/push",
}

func vet(ctx context.Context, c *checker) error { return c.run(ctx, "vet", "./...") }

// test leaves the cache out: tests of durability and of the README depend on more than Go files.
func test(ctx context.Context, c *checker) error {
	return c.run(ctx, "test", "-count=1", "-shuffle=on", "-timeout=10m", "./...")
}

// bench tests the module of the benchmarks, which has peers that nobody else needs to download.
func bench(ctx context.Context, c *checker) error {
	if err := c.run(ctx, "-C", "bench", "mod", "download"); err != nil {
		return fmt.Errorf("%w: the modules of bench/ cannot be downloaded: %w", errSkipped, err)
	}
	if err := c.run(ctx, "-C", "bench", "vet", "./..."); err != nil {
		return err
	}
	return c.run(ctx, "-C", "bench", "test", "-count=1", "./...")
}

// schemathesis has a fuzzer call the HTTP door as its document says. The test installs it for this user.
// It says so where it cannot.
func schemathesis(ctx context.Context, c *checker) error {
	if c.look("python3") != nil {
		return fmt.Errorf("%w: there is no python3, which the fuzzer of the HTTP door is written in", errSkipped)
	}
	out, err := c.output(ctx, "test", "-count=1", "-v", "-timeout=10m", "-run=^TestSchemathesis$",
		"./gateway/http", "-schemathesis")
	fmt.Print(out)
	if err == nil && strings.Contains(out, "--- SKIP: TestSchemathesis") {
		return fmt.Errorf("%w: the fuzzer of the HTTP door cannot be installed", errSkipped)
	}
	return err
}

// race needs cgo and a C compiler on most platforms.
func race(ctx context.Context, c *checker) error {
	if reason := c.noRace(ctx); reason != "" {
		return fmt.Errorf("%w: %s", errSkipped, reason)
	}
	packages, err := c.existing(ctx, racePackages)
	if err != nil {
		return err
	}
	if len(packages) == 0 {
		return errors.New("none of the packages on the heap seam exists")
	}
	c.notes = append(c.notes, fmt.Sprintf("%d packages", len(packages)))
	args := []string{"test", "-race", "-short", "-count=1", "-timeout=10m"}
	return c.run(ctx, append(args, packages...)...)
}

// noRace returns why the race detector cannot be used here, or "".
func (c *checker) noRace(ctx context.Context) string {
	settings, err := c.output(ctx, "env", "CGO_ENABLED", "CC")
	if err != nil {
		return "go env failed: " + err.Error()
	}
	lines := strings.Split(strings.TrimSuffix(settings, "\n"), "\n")
	if len(lines) != 2 || lines[0] != "1" {
		return "the race detector needs cgo, which is off (CGO_ENABLED=0 or no C compiler)"
	}
	compiler := strings.Fields(lines[1])
	if len(compiler) == 0 {
		return "the race detector needs a C compiler, and go env CC names none"
	}
	if _, err := exec.LookPath(compiler[0]); err != nil {
		return "the race detector needs a C compiler: " + err.Error()
	}
	return ""
}

// existing returns those of packages that the module has.
func (c *checker) existing(ctx context.Context, packages []string) ([]string, error) {
	listed, err := c.output(ctx, "list", "./...")
	if err != nil {
		return nil, err
	}
	all := strings.Fields(listed)
	return slices.DeleteFunc(slices.Clone(packages), func(name string) bool {
		return !slices.Contains(all, name)
	}), nil
}

// fuzz runs every target of every package with fuzzRuns inputs each. It counts inputs, not seconds: when a
// time is over, the fuzzing of Go 1.26 may call that a failure (go.dev/issue/75804).
func fuzz(ctx context.Context, c *checker) error {
	listed, err := c.output(ctx, "test", "-list", "^Fuzz", "./...")
	if err != nil {
		return fmt.Errorf("list the fuzz targets: %w", err)
	}
	targets := fuzzTargets(listed)
	if len(targets) == 0 {
		return errors.New("no fuzz target found")
	}
	c.notes = append(c.notes, fmt.Sprintf("%d targets", len(targets)))
	var failed []error
	for _, target := range targets {
		err := c.run(ctx, "test", "-run=^$", "-fuzz=^"+target.name+"$",
			"-fuzztime="+strconv.Itoa(c.fuzzRuns)+"x", target.importPath)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s in %s: %w", target.name, target.importPath, err))
		}
	}
	return errors.Join(failed...)
}

type fuzzTarget struct{ importPath, name string }

// fuzzTargets reads the output of go test -list: the names of a package, then a line "ok path time".
func fuzzTargets(listed string) []fuzzTarget {
	var targets []fuzzTarget
	var names []string
	scanner := bufio.NewScanner(strings.NewReader(listed))
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		switch {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) >= 2 && fields[0] == "ok":
			for _, name := range names {
				targets = append(targets, fuzzTarget{importPath: fields[1], name: name})
			}
			names = nil
		}
	}
	return targets
}

// runGo runs the go command. Arguments in front like GOARCH=arm64 are added to its environment.
func runGo(ctx context.Context, args ...string) error {
	fmt.Println("+ go", strings.Join(args, " "))
	env := os.Environ()
	for len(args) > 0 && strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Env = env
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

func runGoOutput(ctx context.Context, args ...string) (string, error) {
	fmt.Println("+ go", strings.Join(args, " "))
	command := exec.CommandContext(ctx, "go", args...)
	command.Stderr = os.Stderr
	stdout, err := command.Output()
	return string(stdout), err
}
