package handoff

// Stage is what one consumer of a graph does with a run of messages. Every stage reads all bytes that
// no other stage may be writing, and those before the last write one word.
type Stage struct {
	Work              func(t Tally, run []Event) Tally
	perMessage, extra int64 // of the sum it must see
}

// Check judges what the stage saw of n messages.
func (s Stage) Check(t Tally, n int64) error { return t.Check(n, s.perMessage, s.extra) }

// Read is a consumer that only reads.
var Read = Stage{Tally.Events, 8, 0}

// Pipeline is three stages in a row: the second builds on what the first wrote, the third on both.
var Pipeline = [3]Stage{{pipelineFirst, 8, 0}, {pipelineSecond, 8, 1}, {Tally.Events, 8, 3}}

// Diamond is two stages side by side and a third that needs both.
var Diamond = [3]Stage{{diamondLeft, 7, 0}, {diamondRight, 7, 0}, {Tally.Events, 8, 2}}

func pipelineFirst(t Tally, run []Event) Tally {
	for i := range run {
		e := &run[i]
		t = t.Event(e[0], e.Sum())
		e[1] = e[0] + 1
	}
	return t
}

func pipelineSecond(t Tally, run []Event) Tally {
	for i := range run {
		e := &run[i]
		t = t.Event(e[0], e.Sum())
		e[2] = e[1] + 1
	}
	return t
}

func diamondLeft(t Tally, run []Event) Tally {
	for i := range run {
		e := &run[i]
		t = t.Event(e[0], e[0]+e[1]+e[3]+e[4]+e[5]+e[6]+e[7])
		e[1] = e[0] + 1
	}
	return t
}

func diamondRight(t Tally, run []Event) Tally {
	for i := range run {
		e := &run[i]
		t = t.Event(e[0], e[0]+e[2]+e[3]+e[4]+e[5]+e[6]+e[7])
		e[2] = e[0] + 1
	}
	return t
}
