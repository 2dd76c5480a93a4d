package nettest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// program is the command, built once; configDir holds the development CA of all processes.
var program, configDir string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if runtime.GOOS == "windows" {
		fmt.Println("nettest: skipped: no node on Windows yet")
		return 0
	}
	dir, err := os.MkdirTemp("", "leat-nettest-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	program, configDir = filepath.Join(dir, "leat"), filepath.Join(dir, "config")
	os.Setenv("LEAT_CONFIG_DIR", configDir)
	build := exec.Command("go", "build", "-o", program, "github.com/leatbus/leat/cmd/leat")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build the command: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// long reports whether the tests run at full length.
func long() bool { return os.Getenv("LEAT_LONG") != "" }

// pick gives the one for a short or a long run.
func pick[T any](short, full T) T {
	if long() {
		return full
	}
	return short
}

// seeded gives the randomness of one test; the seed is in its log.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("LEAT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LEAT_SEED=%q: %v", text, err)
		}
	}
	t.Logf("LEAT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}
