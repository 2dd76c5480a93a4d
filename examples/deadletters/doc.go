// Command deadletters shows what becomes of messages that a consumer cannot handle, and how an operator gets
// them handled after all.
//
//	earthquakes.tsv ──▶ topic quakes ──▶ queue group catalogue ──ack──▶ catalogue
//	 + 3 cut off           ▲               │ Reject, or 3 attempts
//	                       └────redrive──── quakes.dlq.catalogue ──drop──▶ gone
//
// The first version of the consumer knows the feed from a sample. It rejects magnitudes below 0, which small
// quakes have, and fails on quakes whose number of stations is not known. These become dead letters, beside
// three messages that somebody cut off. Then the program does what an operator does: it lists the letters by
// cause, looks at one of each, mends the consumer, counts what a redrive would do, redrives, and drops what
// cannot be helped.
//
// After each step it counts messages, and fails if they do not add up:
//
//	published = done + waiting + dead + redriven + dropped
package main
