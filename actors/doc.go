// Package actors runs actors on the bus: the bus's own, and those of users fed from topics. It is the
// only package that knows protoactor-go, and of that only its package actor.
//
//	             ┌───────────────── RingMailbox ─────────────────┐
//	supervisor ──▶ system   unbounded but tiny, never blocks     │
//	any actor  ──▶ control  64 messages, sender waits ≤ 5 s      ├──▶ Receive, one goroutine at a time
//	Sender[T]  ──▶ data     ringbuf.Ring[T], one *Batch[T] a run │
//	             └───────────────────────────────────────────────┘
//
// A System owns actors, timers and the goroutines they run on. Spawn starts an actor of the user whose
// data lane is filled from topics: its durable mailbox is the log.
//
// Invariants: an actor handles one message at a time. What was accepted is handled, or its sender is
// told: a message that cannot be delivered goes to the dead letters and, if it is an [Abandonable], its
// Abandoned method is called; a [Call] always ends. A failing actor keeps its mailbox. Stopping handles
// what was queued before.
//
// Ownership: every goroutine belongs to a System, and Close waits for it. A Sender belongs to one
// goroutine at a time. A Batch is valid until Receive returns.
//
// Failure behaviour: a panic of an actor of the bus restarts it after 10 ms·2ⁿ (at most 30 s, ±20 %);
// after five restarts within a minute without progress it is stopped. A panic of a user's actor starts
// a new incarnation at once and delivers the message again after 100 ms·2ⁿ (at most 30 s), while that
// partition waits and the others go on. Each of them is reported to SystemOptions.OnFailure and the
// logger. Nothing is ever dropped without a report.
package actors
