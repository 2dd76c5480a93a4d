//go:build race

package crc32c

// watched says that the race detector has to see what is stored, which it does not in assembly.
const watched = true
