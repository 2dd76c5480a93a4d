// Package histogram counts values in buckets of fixed bounds, so that any number of goroutines can add and
// one can read at any time.
//
// It knows nothing of metrics libraries: packages of all layers count with it, and whoever exports figures
// takes a Snapshot. Adding costs a few comparisons and two atomic additions, and is meant for batches, syncs
// and connections, not for messages.
package histogram
