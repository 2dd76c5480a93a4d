// Command actor keeps running totals of wildlife strikes for each airport, in an actor that is fed from
// a topic and holds its state in memory only.
//
//	birdstrikes.tsv ──▶ topic strikes ──▶ actor totals ◀── ask: how many, what did they cost?
//	                    (by airport)      (replays the topic when it starts)
//
// The first run publishes the file. Any later run on the same folder publishes nothing: the actor rebuilds
// its state from the topic, and the answer is the same.
package main
