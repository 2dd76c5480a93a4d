package node

import "context"

// assignmentNews is what OnAssign has not heard yet. It belongs to the loop, but for end.
type assignmentNews struct {
	call func(assigned, revoked []int32) // nil if nobody asked
	// running holds a token while call runs, so that Close can wait for it.
	running chan struct{}

	fresh    []*cursor // given since the last call
	gone     []int32   // taken since, of those it has heard of
	assigned []int32   // scratch
}

func newAssignmentNews(call func(assigned, revoked []int32)) assignmentNews {
	return assignmentNews{call: call, running: make(chan struct{}, 1)}
}

// given notes that a cursor was placed.
func (n *assignmentNews) given(c *cursor) {
	if n.call != nil {
		n.fresh = append(n.fresh, c)
	}
}

// taken notes that a cursor is gone. Nobody is told of one that came and went in between.
func (n *assignmentNews) taken(c *cursor) {
	if c.told {
		n.gone = append(n.gone, c.part.number)
		return
	}
	kept := n.fresh[:0]
	for _, other := range n.fresh {
		if other != c {
			kept = append(kept, other)
		}
	}
	clear(n.fresh[len(kept):])
	n.fresh = kept
}

// tell calls OnAssign if there is news. No lock may be held.
func (n *assignmentNews) tell(s *subscription) {
	if len(n.fresh) == 0 && len(n.gone) == 0 {
		return
	}
	n.running <- struct{}{}
	defer func() { <-n.running }()
	if s.closed.Load() {
		return
	}
	n.assigned = n.assigned[:0]
	for i, c := range n.fresh {
		c.told = true
		n.assigned = append(n.assigned, c.part.number)
		n.fresh[i] = nil
	}
	n.fresh = n.fresh[:0]
	revoked := n.gone
	n.gone = n.gone[:0]
	n.call(n.assigned, revoked)
}

// end waits for a call that runs. The subscription is closed, so no other begins.
func (n *assignmentNews) end(ctx context.Context) error {
	select {
	case n.running <- struct{}{}:
		<-n.running
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
