package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leatbus/leat/mmaplog"
)

// tally counts cuts.
type tally struct {
	FS             string
	Runs, Cuts     int
	Aimed          map[string]int // by failpoint
	Operations     int
	Flushes        int
	Acked          int64 // records that were durable at a cut
	Tail, TailMax  int64 // records that were published and are gone, at page
	CutBytes       int64
	RecordedBytes  int64
	Broken         int   // cuts after which a promise of a lying writer was found to be broken
	Lost           int64 // records that it had reported durable and that were gone
	VerifyFor, For time.Duration
}

// String is the report of a call.
func (t *tally) String() string {
	total := 0
	for _, n := range t.Aimed {
		total += n
	}
	n := max(t.Cuts, 1)
	end := fmt.Sprintf("none lost; published and gone: %d on average, %d at most", t.Tail/int64(n), t.TailMax)
	if t.Broken > 0 {
		end = fmt.Sprintf("after %d cuts the promise was broken, %d records lost", t.Broken, t.Lost)
	}
	each := (t.VerifyFor / time.Duration(n)).Round(time.Millisecond)
	return fmt.Sprintf("%s: %d power cuts in %d runs, %v (%v each); %d aimed (%s); %d writes and flushes "+
		"recorded (%d flushes, %d MiB); %d records durable at the cuts in all (%d at each), %s",
		t.FS, t.Cuts, t.Runs, t.For.Round(time.Second), each, total, t.windows(),
		t.Operations, t.Flushes, t.RecordedBytes>>20, t.Acked, t.Acked/int64(n), end)
}

// windows lists how many cuts were aimed at each failpoint, and those that no writer came to.
func (t *tally) windows() string {
	var list []string
	for _, name := range mmaplog.Points() {
		if n := t.Aimed[name]; n > 0 {
			list = append(list, fmt.Sprintf("%s %d", name, n))
		}
	}
	if missed := t.missed(); len(missed) > 0 {
		list = append(list, "never "+strings.Join(missed, " "))
	}
	return strings.Join(list, ", ")
}

// missed lists the failpoints at which no cut was aimed.
func (t *tally) missed() []string {
	return slices.DeleteFunc(mmaplog.Points(), func(name string) bool { return t.Aimed[name] > 0 })
}
