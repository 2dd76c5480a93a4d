package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
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

func run(seed uint64, cuts, perRun, steps int) (summary string, err error) {
	if why := obstacle(); why != "" {
		return "", errors.New(why)
	}
	t, err := runPlan(plan{seed: seed, cuts: cuts, perRun: perRun, steps: steps})
	return fmt.Sprintf("seed %d: %v", seed, t), err
}

func (t *tally) String() string {
	var aimed []string
	total := 0
	for name, n := range t.Aimed {
		aimed = append(aimed, fmt.Sprintf("%s %d", name, n))
		total += n
	}
	slices.Sort(aimed)
	n := max(t.Cuts, 1)
	return fmt.Sprintf("%d power cuts in %d runs, %v (%v each); %d aimed: %s; %d writes and flushes recorded "+
		"(%d flushes, %d MiB); on average %d records durable at a cut, none lost; published and gone: %d on "+
		"average, %d at most", t.Cuts, t.Runs, t.For.Round(time.Second),
		(t.VerifyFor / time.Duration(n)).Round(time.Millisecond), total, strings.Join(aimed, ", "), t.Operations,
		t.Flushes, t.RecordedBytes>>20, t.Acked/int64(n), t.Tail/int64(n), t.TailMax)
}
