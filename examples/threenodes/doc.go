// Command threenodes starts three nodes in processes of their own, publishes to them by key, kills one,
// shows what goes on and what fails meanwhile, starts it again, and reads everything back.
//
//	               ┌──▶ node 1: partitions 0 3, creates topics
//	this process ──┼──▶ node 2: partitions 1 4
//	               └──▶ node 3: partitions 2 5, killed and started again
//
// Each partition is on one node, there are no copies: while a node is away its partitions wait, and those
// of the others go on. A publish that fails because of that says so with an error that is retriable, and
// what was acknowledged before is there when the node is back.
package main
