//go:build unix

package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func isTerminal(file *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// terminalSize is 0 where it is not known.
func terminalSize(file *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// notifyResize tells c when the terminal changes its size, until what it gives is called.
func notifyResize(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, unix.SIGWINCH)
	return func() { signal.Stop(c) }
}
