// Command fanout sends one feed of market ticks to a thousand subscribers in the same process and tells how
// long each tick took to reach each of them.
//
//	feed ──▶ Claim, fill, PublishAsync ──▶ topic ticks ──▶ 1,000 subscriptions, a goroutine each
//	 at -rate, each tick at its intended time              └─▶ order checked, latency recorded
//
// With -over ring the feed goes through a ringbuf.Ring with a consumer for each subscriber, and with -over
// lossy through one that waits for nobody: whoever is too far behind loses ticks.
//
// A tick is timed from the moment the feed was to send it, not from the moment it got to: a feed that is
// held up counts against the result. Every subscriber judges the feed by the numbers in the ticks. The exit
// code is not 0 if one tick was lost, repeated or out of order; interrupted, it prints what it has.
package main
