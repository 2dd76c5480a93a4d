package actors

import "sync"

// memberLink is the way from a group to one member. The group must never wait for a member, whose
// control lane may be full while it waits for the group's. So what it has to say queues here, and one
// nudge at a time goes through the lane.
//
// The queue is bounded by what a group can say: each partition is assigned and revoked once before
// the member has to answer, and each commit is answered once.
type memberLink struct {
	system *System
	pid    *PID // set before the group learns of the link

	mu sync.Mutex
	// mu guards the following.
	queue   []any
	noticed bool // a memberNudge is on its way
}

// tell queues a message for the member. Any goroutine may call it.
func (l *memberLink) tell(msg any) {
	l.mu.Lock()
	l.queue = append(l.queue, msg)
	first := !l.noticed
	l.noticed = true
	l.mu.Unlock()
	if first {
		l.system.deliver(l.pid, memberNudge{})
	}
}

// take gives all messages in order. The member's actor calls it with every message, so that a
// nudge its mailbox had no room for is not missed.
func (l *memberLink) take() []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queue
	l.queue, l.noticed = nil, false
	return queue
}
