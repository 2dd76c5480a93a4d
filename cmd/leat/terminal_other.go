//go:build !unix

package main

import "os"

// isTerminal may only be asked where a terminal obeys escape sequences without being told to.
func isTerminal(*os.File) bool { return false }

// terminalSize is 0 where it is not known.
func terminalSize(*os.File) (columns, rows int) { return 0, 0 }

// notifyResize does nothing where nobody tells.
func notifyResize(chan<- os.Signal) (stop func()) { return func() {} }
