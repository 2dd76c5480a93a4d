//go:build race

package mmaplog

const raceEnabled = true
