package main

import (
	"context"
	"errors"
)

// emulators run programs for arm64, in order of preference.
var emulators = []string{"qemu-aarch64-static", "qemu-aarch64"}

// ports tests what is different elsewhere: the ring and the log without their stores for amd64, the ring on
// several numbers of processors, and where it can be emulated, on arm64.
func ports(ctx context.Context, c *checker) error {
	calls := [][]string{
		{"test", "-tags=leat_noasm", "-short", "-count=1", "./ringbuf", "./mmaplog",
			"./internal/crc32c"},
		{"GOARCH=386", "vet", "./ringbuf"},
		{"GOARCH=arm64", "vet", "./ringbuf"},
	}
	if reason := c.noRace(ctx); reason == "" {
		calls = append(calls, []string{"test", "-race", "-short", "-count=1", "-cpu=1,2,4", "./ringbuf"})
	} else {
		c.notes = append(c.notes, reason)
	}
	if emulator := c.firstOf(emulators); emulator != "" {
		calls = append(calls,
			[]string{"GOARCH=arm64", "test", "-exec=" + emulator, "-short", "-count=1", "./ringbuf"})
	} else {
		c.notes = append(c.notes, "no qemu-user, so arm64 was vetted and not run")
	}
	var failed []error
	for _, call := range calls {
		failed = append(failed, c.run(ctx, call...))
	}
	return errors.Join(failed...)
}

// firstOf is the first of the programs that exists, "" if none does.
func (c *checker) firstOf(names []string) string {
	for _, name := range names {
		if c.look(name) == nil {
			return name
		}
	}
	return ""
}
