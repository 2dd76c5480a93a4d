//go:build unix

package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestUnreadableFolder opens a folder without permissions as a user who has no privileges.
func TestUnreadableFolder(t *testing.T) {
	if os.Getuid() != 0 {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0); err != nil {
			t.Fatal(err)
		}
		_, err := Open(soon(t), dir)
		wantError(t, "Open", err, core.ErrPermission)
		return
	}
	binary := copyBinary(t)
	dir := filepath.Join(filepath.Dir(binary), "data")
	if err := os.Mkdir(dir, 0); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, binary, "other user", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("cannot run as another user here: %v", err)
	}
	if err != nil || !strings.HasPrefix(string(out), "3006\n") || !strings.Contains(string(out), "chmod") {
		t.Errorf("the child says %q, %v; want LEAT-3006 with a hint", out, err)
	}
}
