//go:build !race

package mmaplog

const raceEnabled = false
