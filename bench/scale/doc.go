// Package scale asks whether the bus stays as quick as it is when there is a lot: members of a group, or
// messages of a topic.
//
//	members       1,000 members of a stream group, 2 partitions each, and messages all the time
//	                join or leave ──▶ coordinator ──▶ actors of members ──▶ OnAssign ──▶ watch: all settled
//	members-quic  the same behind a server, over 10 connections
//	backlog-*     a topic of 100 million messages beside an empty one
//	                paced publisher ──▶ topic ──▶ tail reader, while others read what is old
//
// Nothing is simulated: members are subscriptions with a loop of their own each, the backlog lies on the
// disk of Options.Dir. The time of a change runs from the call of Subscribe or Close until every member has
// what it is to have and OnAssign has told it. There is no debounce to subtract: a group acts on each change
// at once.
//
// The backlog is published once, as fast as it goes, and synced, for all scenarios that use it. It is in the
// page cache as far as that has room for it.
//
// Ownership: members and buses belong to their scenario, the backlog to the suite.
package scale
