package benchkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	commandTimeout   = 2 * time.Minute
	commandOutputMax = 1 << 20 // bytes kept of each stream
	commandTail      = 400     // bytes of them in an error
)

// Command is a case in a process of its own. It prints one line of JSON with the keys of Sample, last on
// its standard output.
type Command struct {
	Path    string // the program; one without a separator is looked up in PATH
	Args    []string
	Dir     string   // empty means that of this process
	Env     []string // added to that of this process
	Timeout time.Duration
	// Prepare, if not nil, runs before each round and may set the other fields, for what is compiled or
	// found late. Its error is that of the case.
	Prepare func(ctx context.Context, c *Command) error
}

// Run starts the command and reads its sample. It blocks until the process has ended, which is killed when
// its time is over (2 minutes by default) or ctx ends.
func (c *Command) Run(ctx context.Context) (Sample, error) {
	if c.Prepare != nil {
		if err := c.Prepare(ctx, c); err != nil {
			return Sample{}, err
		}
	}
	limit := c.Timeout
	if limit == 0 {
		limit = commandTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := exec.CommandContext(limited, c.Path, c.Args...)
	command.Dir, command.Env = c.Dir, append(os.Environ(), c.Env...)
	// A grandchild may hold the pipes when the child is dead.
	command.WaitDelay = time.Second
	var stdout, stderr bounded
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	name := filepath.Base(c.Path)
	switch {
	case ctx.Err() != nil:
		return Sample{}, ctx.Err()
	case limited.Err() != nil:
		return Sample{}, fmt.Errorf("%s gave no sample within %v and was killed; %s", name, limit, stderr.tail())
	case errors.Is(err, exec.ErrNotFound):
		return Sample{}, Skipf("%s is not installed", name)
	case err != nil:
		return Sample{}, fmt.Errorf("%s: %w; %s", name, err, stderr.tail())
	}
	return parseSample(name, stdout.Bytes())
}

// parseSample reads the last line that is not empty.
func parseSample(name string, output []byte) (s Sample, err error) {
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	last := bytes.TrimSpace(lines[len(lines)-1])
	if err := json.Unmarshal(last, &s); err != nil {
		return Sample{}, fmt.Errorf("%s printed %q: want one line of JSON with the keys of a sample: %w",
			name, last[:min(len(last), commandTail)], err)
	}
	return s, nil
}

// bounded keeps the end of what is written to it.
type bounded struct{ bytes.Buffer }

// Write implements io.Writer and never fails.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > commandOutputMax {
		b.Next(b.Len() / 2)
	}
	b.Buffer.Write(p[max(0, len(p)-commandOutputMax):])
	return len(p), nil
}

func (b *bounded) tail() string {
	text := strings.TrimSpace(b.String())
	if text == "" {
		return "it wrote nothing on standard error"
	}
	return fmt.Sprintf("standard error ends with %q", text[max(0, len(text)-commandTail):])
}

// CompileC compiles one C source into dir with the machine's compiler and returns the program. Without a
// compiler the error is a SkipError.
func CompileC(ctx context.Context, dir, name, source string) (path string, err error) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		return "", Skipf("no C compiler (cc) for %s", name)
	}
	file := filepath.Join(dir, name+".c")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		return "", fmt.Errorf("benchkit: write %s: %w", file, err)
	}
	path = filepath.Join(dir, name)
	// A compiler for a rare machine may not know "native".
	var output []byte
	for _, flags := range [][]string{{"-O3", "-march=native"}, {"-O3"}} {
		args := append(flags, "-pthread", "-o", path, file, "-lm")
		if output, err = exec.CommandContext(ctx, compiler, args...).CombinedOutput(); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("benchkit: compile %s: %w\n%s", name, err, output)
}
