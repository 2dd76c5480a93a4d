package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// childMain is the main function of a child process: it opens the folder of the environment and says
// how that went.
func childMain(role string) int {
	bus, err := Open(context.Background(), os.Getenv("LEAT_TEST_DIR"))
	var ours *leat.Error
	switch {
	case err == nil:
		fmt.Println("opened")
		if err := bus.Close(); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	case errors.As(err, &ours):
		fmt.Printf("%v\n%s\n%s\n", uint16(core.CodeOf(err)), err, leat.HintFor(err))
		return 0
	}
	fmt.Printf("%s: not an error of the table: %v\n", role, err)
	return 1
}

// child prepares this test binary to run as a child process on a folder.
func child(t *testing.T, binary, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(soon(t), binary)
	cmd.Env = append(os.Environ(), childVariable+"="+role, "LEAT_TEST_DIR="+dir)
	cmd.Dir = filepath.Dir(binary)
	return cmd
}

// copyBinary copies this test binary to where any user may run it.
func copyBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "leat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "node.test")
	err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, b, 0o755), os.Chmod(path, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
