package ringbuf

import "errors"

// ErrClosed reports that the ring takes no more claims, or, from [Consumer.Next], that everything
// published before Seal was consumed or that the consumer was closed. A sealed ring never reopens: make a
// new one.
var ErrClosed = errors.New("ringbuf: closed")

// ErrTooLarge reports a claim that could never succeed, however long it waited: more than
// [Slab.MaxEntry] bytes, more than Options.MaxBatch slots, or a size below the least one. Split it.
var ErrTooLarge = errors.New("ringbuf: claim size out of range")

// ErrTooMany reports a [Ring.Producer] call beyond Options.Producers. The number of handles is part
// of the proof that a claim never overtakes a consumer, so it is fixed when the ring is made.
var ErrTooMany = errors.New("ringbuf: more producers than the ring was made for")

// ErrFull reports that there is no room and that Options.Full says not to wait for it.
var ErrFull = errors.New("ringbuf: full")

// ErrNotLossy reports a [Ring.Reader] call on a ring that was made without Options.Lossy.
var ErrNotLossy = errors.New("ringbuf: Reader needs Options.Lossy")
