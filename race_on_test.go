//go:build race

package leat

const raceEnabled = true
