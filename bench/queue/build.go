package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	module        = "github.com/leatbus/leat"
	serverPackage = module + "/bench/queue/server"
)

// workshop builds the programs that are measured, each once, into a folder that goes with the suite.
type workshop struct {
	dir   string
	built map[string]string // paths by package
}

func (w *workshop) close() error {
	if w.dir == "" {
		return nil
	}
	return os.RemoveAll(w.dir)
}

// leat is the command that users have.
func (w *workshop) leat(ctx context.Context) (string, error) {
	if err := haveGo(); err != nil {
		return "", err
	}
	dir, err := goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", err
	}
	return w.build(ctx, strings.TrimSpace(dir), "./cmd/leat")
}

// server is the command of bench/queue/server.
func (w *workshop) server(ctx context.Context) (string, error) {
	if err := haveGo(); err != nil {
		return "", err
	}
	return w.build(ctx, "", serverPackage)
}

func (w *workshop) build(ctx context.Context, dir, pkg string) (path string, err error) {
	if path := w.built[pkg]; path != "" {
		return path, nil
	}
	if w.dir == "" {
		if w.dir, err = os.MkdirTemp("", "leat-bench-programs-"); err != nil {
			return "", err
		}
		w.built = make(map[string]string)
	}
	path = filepath.Join(w.dir, filepath.Base(pkg))
	if _, err := goCommand(ctx, dir, "build", "-o", path, pkg); err != nil {
		return "", err
	}
	w.built[pkg] = path
	return path, nil
}

func haveGo() error {
	if _, err := exec.LookPath("go"); err != nil {
		return benchkit.Skipf("no go command to build the server with")
	}
	return nil
}

func goCommand(ctx context.Context, dir string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = dir
	output, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("go %s: %w; it said %q", arguments[0], err, exit.Stderr)
	}
	return string(output), err
}
