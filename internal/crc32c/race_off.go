//go:build !race

package crc32c

// watched says that the race detector has to see what is stored.
const watched = false
