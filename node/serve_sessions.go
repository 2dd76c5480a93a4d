package node

import (
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// admit lets a connection in, or says why not.
func (s *Server) admit(c *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isDraining:
		return core.NewError(core.CodeDraining, "connect", nil)
	case len(s.sessions) >= s.limits.Connections:
		return core.Errorf(core.CodeLimited, "connect", "%d connections, all that ServeLimits.Connections allows",
			s.limits.Connections)
	case s.pending >= maxPending:
		return core.Errorf(core.CodeLimited, "connect", "%d connections have not said HELLO yet", s.pending)
	}
	s.sessions[c] = struct{}{}
	s.pending++
	return nil
}

// greeted notes that a connection has said HELLO, or never will.
func (s *Server) greeted(c *session, accepted bool) {
	s.mu.Lock()
	s.pending--
	c.greeted = accepted
	s.mu.Unlock()
	if !accepted {
		s.stats.refused.Add(1)
		return
	}
	s.stats.handshakes.Add(1)
	s.stats.connections.Add(1)
}

// forget drops a connection that has ended.
func (s *Server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	if c.greeted {
		s.stats.connections.Add(-1)
	}
}

// greetedSessions gives the connections that have said HELLO.
func (s *Server) greetedSessions() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		if c.greeted {
			list = append(list, c)
		}
	}
	return list
}

func (s *Server) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isDraining
}

// welcome answers HELLO.
func (s *Server) welcome() *wire.WelcomeBody {
	return &wire.WelcomeBody{
		Version: wire.Version, Features: wire.Features, Server: s.version, Node: s.id, Start: s.start,
		Map: s.node.mapNow(),
	}
}

// catchUp tells a client that has just been marked as greeted of a change of the map since WELCOME: pushMaps
// may have passed it over.
func (s *Server) catchUp(c *session, told uint64) {
	if body := s.node.mapNow(); body.Epoch != told {
		c.push(wire.Marshal(nil, wire.Header{Type: wire.Map}, &body))
	}
}

// pushMaps tells all clients that are greeted of each change of the map, until the server closes.
func (s *Server) pushMaps() {
	_, changed := s.node.nodes.now()
	for {
		select {
		case <-changed:
		case <-s.ctx.Done():
			return
		}
		body, next := s.node.nodes.now()
		changed = next
		frame := wire.Marshal(nil, wire.Header{Type: wire.Map}, &body)
		for _, c := range s.greetedSessions() {
			c.push(frame)
		}
	}
}

// push queues a frame for the control stream of a client. One that reads nothing is dropped.
func (c *session) push(frame []byte) {
	if err := c.control.Queue(frame); err != nil {
		c.end(core.Errorf(core.CodeLimited, "push", "the control stream is not read"))
	}
}
