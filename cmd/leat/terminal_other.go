//go:build !unix

package main

import "os"

// isTerminal may only be asked where a terminal obeys escape sequences without being told to.
func isTerminal(*os.File) bool { return false }
