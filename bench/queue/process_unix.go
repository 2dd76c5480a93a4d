//go:build unix

package queue

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts a command and its children into a group of their own.
func ownGroup(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func pauseGroup(p *os.Process) error  { return syscall.Kill(-p.Pid, syscall.SIGSTOP) }
func resumeGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGCONT) }

func killGroup(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
