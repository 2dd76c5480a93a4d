package ring

import (
	"runtime"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// xsyncCases makes the cases of xsync. Its queues give each message to one consumer, so several
// consumers have a queue each, and a stage passes messages on. They never wait: the caller yields.
type xsyncCases struct{}

// Case gives the case of a scenario at queues with one consumer and one producer, nil if there is none.
func (c xsyncCases) Case(scenario string) handoff.Case {
	return map[string]handoff.Case{
		handoff.HopOfWords: c.HopWords, handoff.OneToOneWords: c.Words, handoff.OneToOneEvents: c.Events,
		handoff.OneToThree: c.Each, handoff.InPipeline: c.Pipeline, handoff.InDiamond: c.Diamond,
	}[scenario]
}

// Several gives the case of a scenario at the queue for several producers and consumers.
func (c xsyncCases) Several(scenario string) handoff.Case {
	return map[string]handoff.Case{
		handoff.OneToOneEvents: c.MPMC, handoff.ThreeToOne: c.Shared,
	}[scenario]
}

func (xsyncCases) Words(n int64) (handoff.Result, error) {
	q := xsync.NewSPSCQueue[int64](handoff.RingSlots)
	return handoff.Together(n, func() error {
		for v := range n {
			for !q.TryEnqueue(v) {
				runtime.Gosched()
			}
		}
		return nil
	}, func() error {
		var t handoff.Tally
		for t.Next < n {
			if v, ok := q.TryDequeue(); ok {
				t = t.Word(v)
			} else {
				runtime.Gosched()
			}
		}
		return t.Check(n, 1, 0)
	})
}

type eventQueue = xsync.SPSCQueue[handoff.Event]

func spsc() *eventQueue {
	return xsync.NewSPSCQueue[handoff.Event](handoff.RingSlots)
}

func (xsyncCases) Events(n int64) (handoff.Result, error) {
	q := spsc()
	return handoff.Together(n, enqueue(n, q), dequeue(n, handoff.Read, q))
}

// MPMC is one producer and one consumer at the queue for several.
func (xsyncCases) MPMC(n int64) (handoff.Result, error) {
	q := xsync.NewMPMCQueue[handoff.Event](handoff.RingSlots)
	return handoff.Together(n, func() error {
		var e handoff.Event
		for v := range n {
			e.Fill(v)
			for !q.TryEnqueue(e) {
				runtime.Gosched()
			}
		}
		return nil
	}, func() error {
		var t handoff.Tally
		for t.Next < n {
			if e, ok := q.TryDequeue(); ok {
				t = t.Event(e[0], e.Sum())
			} else {
				runtime.Gosched()
			}
		}
		return t.Check(n, 8, 0)
	})
}

func (xsyncCases) Shared(n int64) (handoff.Result, error) {
	q := xsync.NewMPMCQueue[handoff.Event](handoff.RingSlots)
	sides := []func() error{func() error {
		var t handoff.SharedTally
		for t.Seen < n {
			if e, ok := q.TryDequeue(); ok {
				t.Event(&e)
			} else {
				runtime.Gosched()
			}
		}
		return t.Check(n)
	}}
	for producer := range handoff.Producers {
		sides = append(sides, func() error {
			var e handoff.Event
			for i := range n / handoff.Producers {
				e.Fill(handoff.Numbered(producer, i))
				for !q.TryEnqueue(e) {
					runtime.Gosched()
				}
			}
			return nil
		})
	}
	return handoff.Together(n, sides...)
}

func (xsyncCases) Each(n int64) (handoff.Result, error) {
	a, b, c := spsc(), spsc(), spsc()
	return handoff.Together(n, enqueue(n, a, b, c),
		dequeue(n, handoff.Read, a), dequeue(n, handoff.Read, b), dequeue(n, handoff.Read, c))
}

func (xsyncCases) Pipeline(n int64) (handoff.Result, error) {
	a, b, c := spsc(), spsc(), spsc()
	return handoff.Together(n, enqueue(n, a), pass(n, handoff.Pipeline[0], a, b),
		pass(n, handoff.Pipeline[1], b, c), dequeue(n, handoff.Pipeline[2], c))
}

func (xsyncCases) Diamond(n int64) (handoff.Result, error) {
	a, b, left, right := spsc(), spsc(), spsc(), spsc()
	return handoff.Together(n, enqueue(n, a, b),
		pass(n, handoff.Diamond[0], a, left), pass(n, handoff.Diamond[1], b, right),
		func() error {
			var t handoff.Tally
			var run [1]handoff.Event
			for t.Next < n {
				run[0] = get(left)
				run[0][2] = get(right)[2]
				t = handoff.Diamond[2].Work(t, run[:])
			}
			return handoff.Diamond[2].Check(t, n)
		})
}

func (xsyncCases) HopWords(n int64) (handoff.Result, error) {
	there, back := xsync.NewSPSCQueue[int64](handoff.HopSlots), xsync.NewSPSCQueue[int64](handoff.HopSlots)
	var atPing handoff.Tally
	result, err := handoff.Hop(n, func(i int64) error {
		there.TryEnqueue(i) // alone in the queue: there is room
		for {
			if v, ok := back.TryDequeue(); ok {
				atPing = atPing.Word(v)
				return nil
			}
		}
	}, func() error {
		for i := int64(0); i < n; {
			if v, ok := there.TryDequeue(); ok {
				back.TryEnqueue(v)
				i++
			}
		}
		return nil
	})
	if err == nil {
		err = atPing.Check(n, 1, 0)
	}
	return result, err
}

func put(q *eventQueue, e handoff.Event) {
	for !q.TryEnqueue(e) {
		runtime.Gosched()
	}
}

func get(q *eventQueue) handoff.Event {
	for {
		if e, ok := q.TryDequeue(); ok {
			return e
		}
		runtime.Gosched()
	}
}

func enqueue(n int64, queues ...*eventQueue) func() error {
	return func() error {
		var e handoff.Event
		for v := range n {
			e.Fill(v)
			for _, q := range queues {
				put(q, e)
			}
		}
		return nil
	}
}

func pass(n int64, s handoff.Stage, from, to *eventQueue) func() error {
	return func() error {
		var t handoff.Tally
		var run [1]handoff.Event
		for t.Next < n {
			run[0] = get(from)
			t = s.Work(t, run[:])
			put(to, run[0])
		}
		return s.Check(t, n)
	}
}

func dequeue(n int64, s handoff.Stage, from *eventQueue) func() error {
	return func() error {
		var t handoff.Tally
		var run [1]handoff.Event
		for t.Next < n {
			run[0] = get(from)
			t = s.Work(t, run[:])
		}
		return s.Check(t, n)
	}
}
