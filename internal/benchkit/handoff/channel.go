package handoff

// Channel makes the cases of Go channels. A channel has no batches and gives each message to one
// receiver, so several consumers have a channel each, and a stage passes messages on.
type Channel struct{}

// Words is one sender and one receiver with messages of 8 bytes.
func (Channel) Words(n int64) (Result, error) {
	c := make(chan int64, RingSlots)
	return Together(n, func() error {
		for v := range n {
			c <- v
		}
		return nil
	}, func() error {
		var t Tally
		for t.Next < n {
			t = t.Word(<-c)
		}
		return t.Check(n, 1, 0)
	})
}

// Events is one sender and one receiver with messages of 64 bytes.
func (Channel) Events(n int64) (Result, error) {
	c := make(chan Event, RingSlots)
	return Together(n, sendTo(n, c), receive(n, Read, c))
}

// Shared is three senders and one receiver.
func (Channel) Shared(n int64) (Result, error) {
	c := make(chan Event, RingSlots)
	sides := []func() error{func() error {
		var t SharedTally
		for t.Seen < n {
			e := <-c
			t.Event(&e)
		}
		return t.Check(n)
	}}
	for producer := range Producers {
		sides = append(sides, func() error {
			var e Event
			for i := range n / Producers {
				e.Fill(Numbered(producer, i))
				c <- e
			}
			return nil
		})
	}
	return Together(n, sides...)
}

// Each is one sender and three receivers, each of which gets everything.
func (Channel) Each(n int64) (Result, error) {
	a, b, c := make(chan Event, RingSlots), make(chan Event, RingSlots), make(chan Event, RingSlots)
	return Together(n, sendTo(n, a, b, c), receive(n, Read, a), receive(n, Read, b), receive(n, Read, c))
}

// Pipeline is three stages in a row.
func (Channel) Pipeline(n int64) (Result, error) {
	a, b, c := make(chan Event, RingSlots), make(chan Event, RingSlots), make(chan Event, RingSlots)
	return Together(n, sendTo(n, a),
		pass(n, Pipeline[0], a, b), pass(n, Pipeline[1], b, c), receive(n, Pipeline[2], c))
}

// Diamond is two stages side by side and one that joins what they wrote.
func (Channel) Diamond(n int64) (Result, error) {
	a, b := make(chan Event, RingSlots), make(chan Event, RingSlots)
	left, right := make(chan Event, RingSlots), make(chan Event, RingSlots)
	return Together(n, sendTo(n, a, b), pass(n, Diamond[0], a, left), pass(n, Diamond[1], b, right),
		func() error {
			var t Tally
			var run [1]Event
			for t.Next < n {
				run[0] = <-left
				run[0][2] = (<-right)[2]
				t = Diamond[2].Work(t, run[:])
			}
			return Diamond[2].Check(t, n)
		})
}

// HopWords is a ping-pong of messages of 8 bytes.
func (Channel) HopWords(n int64) (Result, error) {
	there, back := make(chan int64, HopSlots), make(chan int64, HopSlots)
	var atPing Tally
	result, err := Hop(n, func(i int64) error {
		there <- i
		atPing = atPing.Word(<-back)
		return nil
	}, func() error {
		for range n {
			back <- <-there
		}
		return nil
	})
	if err == nil {
		err = atPing.Check(n, 1, 0)
	}
	return result, err
}

// HopEvents is a ping-pong of messages of 64 bytes.
func (Channel) HopEvents(n int64) (Result, error) {
	there, back := make(chan Event, HopSlots), make(chan Event, HopSlots)
	var atPing, atPong Tally
	result, err := Hop(n, func(i int64) error {
		var e Event
		e.Fill(i)
		there <- e
		e = <-back
		atPing = atPing.Event(e[0], e.Sum())
		return nil
	}, func() error {
		for range n {
			e := <-there
			back <- e
			atPong = atPong.Event(e[0], e.Sum())
		}
		return atPong.Check(n, 8, 0)
	})
	if err == nil {
		err = atPing.Check(n, 8, 0)
	}
	return result, err
}

func sendTo(n int64, channels ...chan Event) func() error {
	return func() error {
		var e Event
		for v := range n {
			e.Fill(v)
			for _, c := range channels {
				c <- e
			}
		}
		return nil
	}
}

func pass(n int64, s Stage, from, to chan Event) func() error {
	return func() error {
		var t Tally
		var run [1]Event
		for t.Next < n {
			run[0] = <-from
			t = s.Work(t, run[:])
			to <- run[0]
		}
		return s.Check(t, n)
	}
}

func receive(n int64, s Stage, from chan Event) func() error {
	return func() error {
		var t Tally
		var run [1]Event
		for t.Next < n {
			run[0] = <-from
			t = s.Work(t, run[:])
		}
		return s.Check(t, n)
	}
}
