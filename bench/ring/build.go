package ring

import (
	"context"
	"crypto/sha256"
	_ "embed" // the sources of the peers
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/leatbus/leat/internal/benchkit"
)

//go:embed c/ring.c
var floorSource string

//go:embed java/RingPeer.java
var javaSource string

//go:embed java/pom.xml
var javaProject string

// workshop builds what the peers need, each thing once.
type workshop struct {
	root  string // folder of the cache
	mu    sync.Mutex
	built map[string]built // guarded by mu
}

type built struct {
	path string
	err  error
}

func newWorkshop() (*workshop, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	w := &workshop{root: filepath.Join(cache, "leat-bench"), built: make(map[string]built)}
	if err := os.MkdirAll(w.root, 0o755); err != nil {
		return nil, fmt.Errorf("make a folder for what is built: %w", err)
	}
	return w, nil
}

// once builds what name stands for, or tells what became of it before. make is given an empty or a
// finished folder; it depends on nothing but sources.
func (w *workshop) once(
	name string, sources []string, make func(dir string) (path string, err error),
) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, ok := w.built[name]; ok {
		return b.path, b.err
	}
	hash := sha256.New()
	for _, source := range sources {
		hash.Write([]byte(source))
	}
	dir := filepath.Join(w.root, name+"-"+hex.EncodeToString(hash.Sum(nil))[:16])
	err := os.MkdirAll(dir, 0o755)
	var path string
	if err == nil {
		path, err = make(dir)
	}
	w.built[name] = built{path, err}
	return path, err
}

// floor is the program of c/ring.c.
func (w *workshop) floor(ctx context.Context) (string, error) {
	return w.once("floor", []string{floorSource}, func(dir string) (string, error) {
		return benchkit.CompileC(ctx, dir, "ring", floorSource)
	})
}

// lmax is the class path of java/RingPeer.java and the released jar. Once it is there, no network is
// needed.
func (w *workshop) lmax(ctx context.Context) (string, error) {
	for _, program := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", benchkit.Skipf("no %s for the LMAX Disruptor", program)
		}
	}
	return w.once("lmax", []string{javaSource, javaProject}, func(dir string) (string, error) {
		path := filepath.Join(dir, "lib", "*") + string(os.PathListSeparator) + dir
		if _, err := os.Stat(filepath.Join(dir, "RingPeer.class")); err == nil {
			return path, nil
		}
		for name, text := range map[string]string{"RingPeer.java": javaSource, "pom.xml": javaProject} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return "", err
			}
		}
		err := runIn(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")
		if err != nil {
			return "", benchkit.Skipf("Maven did not get the LMAX Disruptor: %v", err)
		}
		return path, runIn(ctx, dir, "javac", "-cp", path, "-d", dir, "RingPeer.java")
	})
}

const workerPackage = "github.com/leatbus/leat/bench/ring/worker"

// worker is the command worker, built with tags.
func (w *workshop) worker(ctx context.Context, tags string) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", benchkit.Skipf("no go command to build a worker with")
	}
	// The go command knows whether the sources changed.
	return w.once("worker-"+tags, nil, func(dir string) (string, error) {
		path := filepath.Join(dir, "worker")
		return path, runIn(ctx, "", "go", "build", "-tags", tags, "-o", path, workerPackage)
	})
}

func runIn(ctx context.Context, dir, program string, arguments ...string) error {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w; it said %q", program, err, output[max(0, len(output)-400):])
	}
	return err
}
