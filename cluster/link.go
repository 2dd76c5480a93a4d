package cluster

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// link is one connection with a peer, after both have said who they are.
//
//	run ──▶ greet ──▶ attach ──▶ read ──────────────▶ detach
//	                        ├──▶ beat: PING, silence
//	                        ├──▶ feed: CATALOGUE      on the meta node
//	                        └──▶ take: Follow         on the others, while something was sent
type link struct {
	peers *Peers
	peer  *peer
	conn  transport.Conn
	lane  *transport.Lane
	feed  *feed        // nil but on the meta node
	heard atomic.Int64 // when the last frame came, on the clock's Mono
	born  int64        // when it began, on the same clock

	ctx  context.Context // ends with the link
	work sync.WaitGroup

	endOnce sync.Once
	cause   error // why it ended

	incoming incoming // owned by read
}

// run serves a connection until it has ended, and says why.
func (p *Peers) run(ctx context.Context, conn transport.Conn, other *peer, dialed bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &link{peers: p, peer: other, conn: conn, ctx: ctx, born: p.cfg.Clock.Mono()}
	l.heard.Store(l.born)
	defer l.endWith(ctx)()
	defer l.endWith(p.ctx)()
	reader, hello, err := l.greet(dialed)
	if !dialed {
		p.endGreeting()
	}
	if err != nil {
		l.end(err)
		l.wait(cancel)
		return l.cause
	}
	if p.meta() == p.cfg.Node {
		l.feed = newFeed()
	}
	p.attach(l, &hello)
	l.work.Go(l.beat)
	if l.feed != nil {
		l.work.Go(func() { l.end(l.sendCatalogue()) })
	}
	l.end(l.read(reader))
	l.wait(cancel)
	p.detach(l)
	return l.cause
}

// wait waits for everything the link has started. The connection has been closed.
func (l *link) wait(cancel context.CancelFunc) {
	cancel()
	l.work.Wait()
	if l.lane != nil {
		l.lane.Wait()
	}
}

// endWith ends the link when ctx ends; the result undoes that.
func (l *link) endWith(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { l.end(core.NewError(core.CodeClosed, "peer link", nil)) })
	return func() { stop() }
}

// end closes the connection for a reason; only the first counts. nil waits for another reason.
func (l *link) end(err error) {
	if err == nil {
		return
	}
	l.endOnce.Do(func() {
		switch {
		case err == io.EOF: // bare: a body that ends too early wraps it
			l.cause = core.Errorf(core.CodeUnavailable, "peer link", "the peer has ended it")
			l.conn.Close(0, "")
		case errors.Is(err, core.ErrClosed):
			l.cause = err
			l.conn.Close(0, "")
		default:
			l.cause = err
			closeFor(l.conn, err)
		}
	})
}

// greet exchanges PEER_HELLO and PEER_WELCOME.
func (l *link) greet(dialed bool) (*transport.Reader, wire.PeerHelloBody, error) {
	var theirs wire.PeerHelloBody
	greeted := make(chan struct{})
	defer close(greeted)
	l.work.Go(func() { l.expire(greeted) })
	stream, err := openStream(l.ctx, l.conn, dialed)
	if err != nil {
		return nil, theirs, err
	}
	l.lane = transport.NewLane(stream, laneBytes)
	r := transport.NewReader(stream, wire.MaxHelloPayload)
	if dialed {
		if err := l.sayHello(wire.PeerHello); err != nil {
			return nil, theirs, err
		}
	}
	want := wire.PeerHello
	if dialed {
		want = wire.PeerWelcome
	}
	if err := l.readHello(r, want, &theirs); err != nil {
		return nil, theirs, err
	}
	if !dialed {
		if err := l.sayHello(wire.PeerWelcome); err != nil {
			return nil, theirs, err
		}
	}
	r.SetLimit(frameMax)
	return r, theirs, nil
}

// expire ends the link if it has not been greeted in time.
func (l *link) expire(greeted <-chan struct{}) {
	timer := l.peers.cfg.Clock.NewTimer(helloWait)
	defer timer.Stop()
	select {
	case <-timer.C():
		l.end(wire.Errorf("no greeting within %v", helloWait))
	case <-greeted:
	case <-l.conn.Done():
	}
}

func (l *link) sayHello(t wire.Type) error {
	cfg := &l.peers.cfg
	return l.lane.Queue(wire.Marshal(nil, wire.Header{Type: t}, wire.PeerHelloBody{
		Version: wire.Version, Features: wire.Features, Cluster: cfg.Cluster, Node: cfg.Node,
		Advertise: cfg.Advertise, Start: cfg.Start, Catalogue: cfg.Shell.Version(),
	}))
}

func (l *link) readHello(r *transport.Reader, want wire.Type, into *wire.PeerHelloBody) error {
	h, err := r.Next()
	if err != nil {
		return err
	}
	if h.Type != want {
		return wire.Errorf("%v before %v", h.Type, want)
	}
	payload, err := r.Small()
	if err != nil {
		return err
	}
	if err := wire.Unmarshal(h.Type, payload, into); err != nil {
		return err
	}
	const op = "greet peer"
	switch {
	case into.Version < 1:
		return core.Errorf(core.CodeUnsupported, op, "protocol version %d", into.Version)
	case into.Cluster != l.peers.cfg.Cluster:
		return core.Errorf(core.CodeWrongNode, op, "it is of cluster %s, not %s",
			core.Quote(into.Cluster), core.Quote(l.peers.cfg.Cluster))
	case into.Node != l.peer.id:
		return core.Errorf(core.CodeWrongNode, op, "it is node %d, its certificate says %d", into.Node, l.peer.id)
	case into.Advertise == "" || len(into.Advertise) > addressMax:
		return wire.Errorf("%v with an address of %d bytes", h.Type, len(into.Advertise))
	}
	return nil
}

// read takes frames until the link ends.
func (l *link) read(r *transport.Reader) error {
	for {
		h, err := r.Next()
		if err != nil {
			return err
		}
		l.heard.Store(l.peers.cfg.Clock.Mono())
		if err := l.take(r, &h); err != nil {
			return err
		}
	}
}

func (l *link) take(r *transport.Reader, h *wire.Header) error {
	switch h.Type {
	case wire.Ping:
		pong := wire.Header{Type: wire.Pong, Arg: h.Arg}
		return l.lane.Queue(pong.Append(nil))
	case wire.Pong:
		return l.pong(h.Arg)
	case wire.Catalogue:
		return l.takeCatalogue(r, h)
	case wire.CatalogueOK:
		return l.takeOK(h.Arg)
	}
	switch {
	case h.Type.Known():
		return wire.Errorf("%v between nodes", h.Type)
	case h.Flags&wire.FlagMustUnderstand != 0:
		return core.Errorf(core.CodeUnsupported, "read frame", "%v", h.Type)
	}
	return nil // it may come from a newer version
}

// beat asks whether the peer lives, and ends the link when it has been silent for too long.
func (l *link) beat() {
	cfg := &l.peers.cfg
	timer := cfg.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
		case <-l.ctx.Done():
			return
		}
		now := cfg.Clock.Mono()
		if silent := now - l.heard.Load(); silent > int64(cfg.Silence) {
			l.end(core.Errorf(core.CodeUnavailable, "peer link", "silent for %v",
				time.Duration(silent).Round(time.Millisecond)))
			return
		}
		ping := wire.Header{Type: wire.Ping, Arg: uint64(now - l.born)}
		if err := l.lane.Queue(ping.Append(nil)); err != nil {
			l.end(err)
			return
		}
		timer.Reset(cfg.Silence / 4)
	}
}

// pong takes the answer to a PING, which carries when that was sent.
func (l *link) pong(sent uint64) error {
	now := l.peers.cfg.Clock.Mono() - l.born
	if sent > uint64(now) {
		return wire.Errorf("PONG without PING")
	}
	l.peers.noteRTT(l, now-int64(sent))
	return nil
}
