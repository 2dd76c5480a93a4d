package benchkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	changedMark = "+changes"
	moduleLine  = "module github.com/leatbus/leat\n"
)

// workTreeCommit asks git for the revision of the work tree this process is in, for programs that were not
// told when they were built. It is empty outside of this repository.
func workTreeCommit() string {
	top := git("rev-parse", "--show-toplevel")
	if top == "" {
		return ""
	}
	module, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil || !strings.HasPrefix(string(module), moduleLine) {
		return ""
	}
	commit := git("rev-parse", "HEAD")
	// Results that were just written do not change what was measured.
	if commit != "" && git("status", "--porcelain", "--untracked-files=no") != "" {
		commit += changedMark
	}
	return commit
}

// git runs a git command and gives its output, nothing if it failed.
func git(args ...string) string {
	output, err := exec.Command("git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(output))
}
