package ringbuf

import "errors"

// ErrClosed reports that the ring takes no more claims, or, from [Consumer.Next], that everything
// published before Close was consumed. A closed ring never reopens: make a new one.
var ErrClosed = errors.New("ringbuf: closed")

// ErrTooLarge reports a claim that could never succeed, however long it waited: more than
// [Slab.MaxEntry] bytes, more than Options.MaxBatch slots, or a size below the least one. Split it.
var ErrTooLarge = errors.New("ringbuf: claim size out of range")

// ErrTooMany reports a [Ring.Producer] call beyond Options.Producers. The number of handles is part
// of the proof that a claim never overtakes a consumer, so it is fixed when the ring is made.
var ErrTooMany = errors.New("ringbuf: more producers than the ring was made for")

// ErrStarted reports a [Ring.Consumer] call after the first claim. Consumers are added before.
var ErrStarted = errors.New("ringbuf: consumer added after the first claim")
