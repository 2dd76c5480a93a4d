package cluster

import (
	"context"
	"sync/atomic"

	"github.com/leatbus/leat/transport"
)

// muted is a connection that can stop carrying what its streams write, as a cable that is cut.
type muted struct {
	transport.Conn
	on atomic.Bool
}

func (m *muted) OpenStream(ctx context.Context) (transport.Stream, error) {
	s, err := m.Conn.OpenStream(ctx)
	return &mutedStream{s, m}, err
}

type mutedStream struct {
	transport.Stream
	conn *muted
}

func (s *mutedStream) Write(p []byte) (int, error) {
	if s.conn.on.Load() {
		return len(p), nil
	}
	return s.Stream.Write(p)
}
