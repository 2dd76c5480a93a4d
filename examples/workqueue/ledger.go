package main

import (
	"fmt"
	"sync"
)

// ledger judges the order. Jobs of an airport lie in one partition, so their offsets, which the receipts
// tell, are the order in which they were published and must be done.
type ledger struct {
	down       string
	othersDone chan struct{} // closed when the jobs of all airports but down are
	allDone    chan struct{} // closed when all jobs are

	mu         sync.Mutex
	airports   map[string]*account
	leftOthers int // jobs to be done
	leftDown   int
	failures   int // attempts that failed
	repeated   int // jobs that were done already
}

// account is one airport of the ledger.
type account struct {
	offsets []int64 // of its jobs, in order
	done    int     // how many of them are
}

// summary is what a ledger knows at one moment.
type summary struct{ total, ofDown, failures, repeated int }

func newLedger(down string) *ledger {
	return &ledger{down: down, othersDone: make(chan struct{}), allDone: make(chan struct{}),
		airports: map[string]*account{}}
}

// add enters a job that was published.
func (l *ledger) add(airport string, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.airports[airport]
	if a == nil {
		a = &account{}
		l.airports[airport] = a
	}
	a.offsets = append(a.offsets, offset)
}

// open begins the work. All jobs were entered by then.
func (l *ledger) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for airport, a := range l.airports {
		if airport == l.down {
			l.leftDown = len(a.offsets)
		} else {
			l.leftOthers += len(a.offsets)
		}
	}
	if l.leftOthers == 0 || l.down != "" && l.leftDown == 0 {
		return fmt.Errorf("there are %d jobs of the airport that is down, %q, and %d of others: want some of both",
			l.leftDown, l.down, l.leftOthers)
	}
	return nil
}

// done enters that a job is done. It refuses one that is out of its airport's order.
func (l *ledger) done(airport string, offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, isNext, err := l.find(airport, offset)
	if err != nil {
		return err
	}
	if !isNext {
		l.repeated++
		return nil
	}
	a.done++
	if airport == l.down {
		l.leftDown--
	} else if l.leftOthers--; l.leftOthers == 0 {
		close(l.othersDone)
	}
	if l.leftOthers+l.leftDown == 0 {
		close(l.allDone)
	}
	return nil
}

// fail enters that an attempt at a job failed.
func (l *ledger) fail(airport string, offset int64, attempt int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, isNext, err := l.find(airport, offset)
	if err == nil && isNext {
		l.failures++
		if int(attempt) < l.failures {
			err = fmt.Errorf("%s: the job at offset %d has failed %d times and comes as attempt %d", airport, offset,
				l.failures, attempt)
		}
	}
	return err
}

// find gives the account of a job, and whether it is the one to be done now rather than one that is done. The
// lock must be held.
func (l *ledger) find(airport string, offset int64) (a *account, isNext bool, err error) {
	a = l.airports[airport]
	switch {
	case a == nil:
		return nil, false, fmt.Errorf("nothing was published for %q, but the job at offset %d", airport, offset)
	case a.done < len(a.offsets) && offset == a.offsets[a.done]:
		return a, true, nil
	case a.done > 0 && offset <= a.offsets[a.done-1]:
		return a, false, nil
	}
	return nil, false, fmt.Errorf("%s: the job at offset %d came when %d of %d were done: out of order", airport,
		offset, a.done, len(a.offsets))
}

func (l *ledger) total() int { return l.summary().total }

func (l *ledger) summary() summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := summary{failures: l.failures, repeated: l.repeated}
	for airport, a := range l.airports {
		s.total += len(a.offsets)
		if airport == l.down {
			s.ofDown = len(a.offsets)
		}
	}
	return s
}
