// Command trading sends the ticks of a market with many instruments to a fast consumer, which sees every one
// of them, and to a slow one, which gets the latest of each instrument when it comes to it.
//
//	market ──▶ Claim, fill, PublishAsync ──▶ topic ticks ──▶ fast: every tick, in order
//	 500 instruments, at -rate              (by instrument) └─▶ batches ──▶ conflator ──▶ slow: the latest
//
// Both are timed from the moment at which the market was to send a tick, not from the moment it got to. The
// fast one fails the program if a tick of an instrument is missing, repeated or out of order; the slow one if
// an instrument goes back in time, or does not end at the price of the market.
package main
