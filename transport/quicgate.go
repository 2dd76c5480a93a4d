package transport

import (
	"sync"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// handshakeGate counts handshakes: rate tokens, that come back within a second.
type handshakeGate struct {
	clock clock.Clock
	rate  int64 // per second, and the most that can be saved up

	mu    sync.Mutex // guards the following
	spent int64      // nanoseconds until all tokens are back, as of at
	at    int64      // of the last call
}

func newHandshakeGate(c clock.Clock, rate int) handshakeGate {
	return handshakeGate{clock: c, rate: int64(rate), at: c.Mono()}
}

// take takes a token and reports whether there was one.
func (g *handshakeGate) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Mono()
	g.spent = max(0, g.spent-(now-g.at))
	g.at = now
	cost := int64(time.Second) / g.rate
	if g.spent+cost > int64(time.Second) {
		return false
	}
	g.spent += cost
	return true
}
