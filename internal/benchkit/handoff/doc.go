// Package handoff measures how fast goroutines hand messages on: the scenarios of rings and queues,
// with the ring and the Go channel in each of them. Other peers bring their own loops and use the same
// messages, checks and clock.
//
//	sides (producers, stages, consumers) ──start together──▶ handing on ──▶ Tally: count, order, sum
//	                                                                            │
//	                                                    Result: messages, time, allocations
//
// A message is a word of 8 bytes or an [Event] of 64; whoever sends writes all of it and whoever
// receives reads all of it. A side that saw a wrong number of messages, one out of order or a wrong sum
// fails the run.
//
// Invariants: no clock is read while messages are handed on, except in the scenarios of latency, which
// read one per message. Every peer does the same work per message.
//
// Ownership: a run starts its goroutines and waits for all of them.
//
// Failure behaviour: a run that went wrong returns an error and no figure.
package handoff
