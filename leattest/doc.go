// Package leattest gives tests a bus of their own, in memory.
//
//	func TestOrders(t *testing.T) {
//		bus := leattest.New(t, leattest.WithTopic("orders", leat.TopicConfig{}))
//		…
//	}
//
// It is the bus that node.Open opens, with the same journal, logs, groups and errors, on a file system in
// memory: nothing touches the disk, a publish at level disk takes microseconds, and everything is gone
// when the test ends.
//
// # Virtual time
//
// Made inside a testing/synctest bubble the bus lives in the bubble's time: Message.Time, the sessions of
// groups (10 s), the folding of acks (50 ms) and every deadline follow it. An idle bus blocks durably, so
// synctest.Wait returns when everything that was set in motion has happened, and hours pass in an instant
// while the test waits. Start loops over subscriptions on goroutines of the bubble. A member of a group is
// heard of every 3 s, so a day with members is 28,800 steps each: less than a second.
//
// Failure behaviour: what New and the closing of the bus cannot do fails the test. A subscription with
// leat.Spin never blocks, so virtual time stands still.
package leattest
