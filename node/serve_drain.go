package node

import (
	"context"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// Close drains: it takes nothing new, lets members give their partitions back, answers what is in flight,
// and ends all connections, after DrainFor at the latest. The bus stays open. Further calls wait for the
// first.
func (s *Server) Close() error {
	s.closeOnce.Do(s.close)
	return nil
}

func (s *Server) close() {
	s.mu.Lock()
	s.isDraining = true
	s.mu.Unlock()
	if s.opening != nil {
		<-s.opening
	}
	if s.listener != nil {
		s.listener.StopAccepting()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	sessions := s.greetedSessions()
	away := wire.Header{Type: wire.GoAway, Arg: uint64(s.drain / time.Millisecond)}
	for _, c := range sessions {
		c.push(away.Append(nil))
	}
	// Members first: while they finish, their producers go on.
	inParallel(sessions, func(c *session) { c.drain(ctx, isMember) })
	inParallel(sessions, func(c *session) { c.drain(ctx, func(d drainer) bool { return !isMember(d) }) })
	linger(ctx, sessions)
	for _, c := range sessions {
		c.conn.Close(core.CodeDraining, "the node is shutting down")
	}
	s.stop()
	s.work.Wait()
	s.node.stopPeers()
	s.dialed.Wait()
	if s.listener != nil {
		_ = s.listener.Close() // nobody is left to tell
	}
	s.node.serverClosed(s)
}

// lingerFor is how long the last answers have to arrive: the end of a connection overtakes them. What is
// lost all the same, a producer learns when it sends again.
const lingerFor = 50 * time.Millisecond

// linger waits for the last answers to arrive, or for clients to leave by themselves.
func linger(ctx context.Context, sessions []*session) {
	ctx, cancel := context.WithTimeout(ctx, lingerFor)
	defer cancel()
	for _, c := range sessions {
		select {
		case <-c.conn.Done():
		case <-ctx.Done():
			return
		}
	}
}

func isMember(d drainer) bool {
	switch d.(type) {
	case *memberStream, *queueStream:
		return true
	}
	return false
}

// drain brings the streams of a kind to an end, and requests with them.
func (c *session) drain(ctx context.Context, kind func(drainer) bool) {
	c.mu.Lock()
	var list []drainer
	for d := range c.open {
		if kind(d) {
			list = append(list, d)
		}
	}
	c.mu.Unlock()
	inParallel(list, func(d drainer) { d.drain(ctx) })
	c.await(ctx, c.requests.whenIdle())
}

// inParallel calls f for each of a list and waits.
func inParallel[T any](list []T, f func(T)) {
	var all sync.WaitGroup
	for _, each := range list {
		all.Go(func() { f(each) })
	}
	all.Wait()
}
