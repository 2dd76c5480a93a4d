package main

import (
	"errors"
	"fmt"
	"os"
)

// becomeWriter runs the writer if this process is one.
func becomeWriter() (code int, child bool) {
	text := os.Getenv(writerVariable)
	if text == "" {
		return 0, false
	}
	if err := runWriter(text); err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		return 3, true
	}
	return 0, true
}

func run(p plan) (summary string, err error) {
	fs, err := findFileSystem(p.fs)
	if err != nil {
		return "", err
	}
	if why := obstacle(&fs); why != "" {
		return "", errors.New(why)
	}
	t, err := runPlan(p)
	return fmt.Sprintf("seed %d: %v", p.seed, t), err
}
