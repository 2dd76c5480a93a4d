// Package bench compares the bus with other ways to hand messages on, in one run and with the same
// messages. It is a module of its own, so that nobody who uses Leat downloads what it compares with.
//
//	publisher ─▶ one topic at page ─▶ n subscriptions, each at its own cursor, from disk if need be
//	publisher ─▶ n channels ────────▶ n receivers, each with a bounded buffer in memory
//
// The two differ in what they give: a bus message is ordered by key, in the log and readable again
// after the death of the process; a channel message is gone with it. The benchmark says what that
// costs. Run it with: go test -run '^$' -bench .
//
// Below this folder: cmd/bench is the program that measures, compares and draws; ring, log and queue have the
// peers of the ring, of the log and of queue groups; compare, plot and document work on reports; net holds
// the network against NATS.
//
// Every receiver checks that it got every message in order; one that did not fails the benchmark.
package bench
