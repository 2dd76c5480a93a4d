//go:build !linux

package main

import "errors"

func becomeWriter() (code int, child bool) { return 0, false }

func run(plan) (summary string, err error) {
	return "", errors.New("it needs FUSE and loop devices: Linux only")
}
