package lint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// commandTimeMax bounds one command or program of a document.
	commandTimeMax = 3 * time.Minute
	// nestedVariable is set for them, so that a command that runs all tests does not run this one again.
	nestedVariable = "LEAT_README_NESTED"
)

// runCommand runs one line of a shell block from the root of the repository. A make target that would
// come back here is not run: then ran is false, and only its existence was checked.
func runCommand(ctx context.Context, root, command string) (ran bool, err error) {
	if targets, isMake := makeTargets(command); isMake {
		makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
		if err != nil {
			return false, fmt.Errorf("lint: %s: %w", command, err)
		}
		for _, target := range targets {
			if !hasTarget(string(makefile), target) {
				return false, fmt.Errorf("lint: %s: the Makefile has no target %q", command, target)
			}
		}
		if slices.ContainsFunc(targets, func(s string) bool { return slices.Contains(targetsNotRun, s) }) {
			return false, nil
		}
	}
	return true, execute(ctx, root, nil, "sh", "-c", command)
}

// runProgram builds and runs a Go program as a user would: in a module of its own, outside of this one.
// workDir is an empty folder for it. Everything it imports comes from the module cache and root.
func runProgram(ctx context.Context, root, workDir, source string) error {
	if err := writeModule(ctx, root, workDir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(workDir, "main.go"), []byte(source), 0o644); err != nil {
		return fmt.Errorf("lint: write a program: %w", err)
	}
	program := filepath.Join(workDir, "program.exe")
	// Two steps instead of go run: the end of its time then reaches the program itself.
	env := []string{"GOFLAGS=-mod=mod"}
	if err := execute(ctx, workDir, env, "go", "build", "-o", program, "."); err != nil {
		return err
	}
	return execute(ctx, workDir, nil, program)
}

// writeModule writes go.mod and go.sum of a module that uses the one at root, with all its versions.
func writeModule(ctx context.Context, root, workDir string) error {
	stdout, err := runGo(ctx, root, nil, "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var module goMod
	if err := json.Unmarshal(stdout, &module); err != nil {
		return fmt.Errorf("lint: go mod edit -json: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "module example\n\ngo %s\n\n", module.Go)
	fmt.Fprintf(&text, "require %s v0.0.0\nreplace %s => %s\n", ModulePath, ModulePath, root)
	for _, require := range module.Require {
		fmt.Fprintf(&text, "require %s %s\n", require.Path, require.Version)
	}
	if err := os.WriteFile(filepath.Join(workDir, "go.mod"), []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("lint: write go.mod: %w", err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lint: read go.sum: %w", err)
	}
	if err := os.WriteFile(filepath.Join(workDir, "go.sum"), sum, 0o644); err != nil {
		return fmt.Errorf("lint: write go.sum: %w", err)
	}
	return nil
}

// execute runs a program to its end. The error carries the end of what it printed.
func execute(ctx context.Context, dir string, env []string, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeMax)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	command.Env = append(append(os.Environ(), nestedVariable+"=1"), env...)
	// A grandchild may keep the pipes open after the child was killed.
	command.WaitDelay = 5 * time.Second
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w after %v", ctx.Err(), commandTimeMax)
	}
	const tail = 4096
	return fmt.Errorf("lint: %s %s: %w\n%s", name, strings.Join(args, " "), err,
		output[max(0, len(output)-tail):])
}
