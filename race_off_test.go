//go:build !race

package leat

const raceEnabled = false
