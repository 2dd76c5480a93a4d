package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
)

// dial keeps a link to a node with a lower id until Close.
func (p *Peers) dial(other *peer) {
	pause := pauseMin
	for p.ctx.Err() == nil {
		began := p.cfg.Clock.Mono()
		err := p.connect(other)
		p.missed(other, err)
		if p.cfg.Clock.Mono()-began > int64(pauseMax) {
			pause = pauseMin // it was up for a while
		}
		if clock.Sleep(p.ctx, p.cfg.Clock, p.jitter.of(pause)) != nil {
			return
		}
		pause = min(2*pause, pauseMax)
	}
}

// connect dials once and serves the link until it ends.
func (p *Peers) connect(other *peer) error {
	ctx, cancel := context.WithTimeout(p.ctx, dialWait)
	conn, err := p.cfg.Dial(ctx, other.id, p.cfg.Peers[other.id])
	cancel()
	if err != nil {
		return err
	}
	if _, err := p.expect(conn, other.id); err != nil {
		closeFor(conn, err)
		return err
	}
	return p.run(p.ctx, conn, other, true)
}

// missed notes why a peer is not up. A reason that is new is logged.
func (p *Peers) missed(other *peer, err error) {
	p.mu.Lock()
	fresh := other.err == nil || other.err.Error() != err.Error()
	if other.link == nil {
		other.err = err
	}
	p.mu.Unlock()
	if fresh && p.ctx.Err() == nil {
		p.cfg.Logger.Warn("peer is down", "node", other.id, "addr", p.cfg.Peers[other.id], "err", err)
	}
}

// jitter spreads pauses, so that nodes that were cut off together do not come back in step. It needs no
// good randomness: splitmix64.
type jitter struct{ state atomic.Uint64 }

// of gives a duration in [d/2, d].
func (j *jitter) of(d time.Duration) time.Duration {
	z := j.state.Add(0x9E3779B97F4A7C15)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return d/2 + time.Duration(z%uint64(d/2+1))
}

// openStream gives the one stream of a link.
func openStream(ctx context.Context, conn transport.Conn, dialed bool) (transport.Stream, error) {
	if dialed {
		return conn.OpenStream(ctx)
	}
	return conn.AcceptStream(ctx)
}

// reasonOf is what goes with the code that ends a connection.
func reasonOf(err error) string {
	if e, ok := err.(*core.Error); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}
