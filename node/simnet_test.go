package node

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/dialer"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
	"github.com/quic-go/quic-go/testutils/simnet"
)

// simAddress is where the server of a simulated network is.
const simAddress = "127.0.0.1:4740"

// simNetwork is a network in virtual time that loses, delays, reorders and repeats packets, and can be cut.
type simNetwork struct {
	latency   time.Duration // one way
	jitter    time.Duration // up to this much more, which changes the order
	loss      float64
	duplicate float64

	routes simnet.PerfectRouter
	conns  sync.WaitGroup // endpoints of clients

	mu       sync.Mutex // guards the following
	random   *rand.Rand
	cut      bool
	apart    map[string]bool // hosts that nothing reaches, and that reach nothing
	nextPort int
	counts   simCounts
}

// simCounts says what happened to packets.
type simCounts struct{ passed, lost, cut, repeated int }

func newSimNetwork(seed uint64) *simNetwork {
	return &simNetwork{random: rand.New(rand.NewPCG(seed, 1)), apart: map[string]bool{}, nextPort: 9000}
}

// AddNode implements simnet.Router.
func (n *simNetwork) AddNode(addr net.Addr, receiver simnet.PacketReceiver) {
	n.routes.AddNode(addr, receiver)
}

// SendPacket implements simnet.Router.
func (n *simNetwork) SendPacket(packet simnet.Packet) error {
	n.mu.Lock()
	copies := 1
	switch {
	case n.cut, n.apart[host(packet.From)], n.apart[host(packet.To)]:
		copies = 0
		n.counts.cut++
	case n.random.Float64() < n.loss:
		copies = 0
		n.counts.lost++
	case n.random.Float64() < n.duplicate:
		copies = 2
		n.counts.repeated++
	default:
		n.counts.passed++
	}
	n.mu.Unlock()
	for range copies {
		_ = n.routes.SendPacket(packet) // nobody there: as if lost
	}
	return nil
}

func host(addr net.Addr) string { return addr.(*net.UDPAddr).IP.String() }

// setCut cuts every line, or heals them.
func (n *simNetwork) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// setApart cuts the line of one host, or heals it.
func (n *simNetwork) setApart(host string, apart bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.apart[host] = apart
}

func (n *simNetwork) counted() simCounts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

func (n *simNetwork) delay(simnet.Packet) time.Duration {
	if n.jitter == 0 {
		return n.latency
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latency + time.Duration(n.random.Int64N(int64(n.jitter)))
}

// simEndpoint is a socket on the network.
type simEndpoint struct {
	*simnet.SimConn
	link *simnet.SimulatedLink
}

// endpoint makes a socket; a later one at the same address takes its packets.
func (n *simNetwork) endpoint(addr *net.UDPAddr) *simEndpoint {
	link := &simnet.SimulatedLink{LatencyFunc: n.delay, UploadPacket: n,
		UplinkSettings: simnet.LinkSettings{MTU: 1500}, DownlinkSettings: simnet.LinkSettings{MTU: 1500}}
	e := &simEndpoint{SimConn: simnet.NewBlockingSimConn(addr, link), link: link}
	link.Start()
	n.AddNode(addr, link)
	return e
}

func (e *simEndpoint) close() {
	_ = e.Close() // always nil
	_ = e.link.Close()
}

// dialFrom gives a function that dials from a host, each time from another port.
func (n *simNetwork) dialFrom(ip net.IP) dialer.Func {
	return func(ctx context.Context, address string) (transport.Conn, error) {
		trust, err := certs.DevelopmentClient("")
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.nextPort++
		addr := &net.UDPAddr{IP: ip, Port: n.nextPort}
		n.mu.Unlock()
		e := n.endpoint(addr)
		conn, err := transport.Dial(ctx, address, transport.DialConfig{
			TLS: trust, Protocol: wire.ALPNClient, PacketConn: e})
		if err != nil {
			n.routes.RemoveNode(addr)
			e.close()
			return nil, err
		}
		n.conns.Go(func() {
			<-conn.Done()
			conn.Close(0, "") // waits until the socket is not used any more
			n.routes.RemoveNode(addr)
			e.close()
		})
		return conn, nil
	}
}

// simServer is a node and its door on a simulated network and a simulated disk.
type simServer struct {
	t      *testing.T
	net    *simNetwork
	opts   []Option
	socket *simEndpoint
	door   *Server

	mu  sync.Mutex // guards the following
	bed *bed
}

// newSimServer opens a node on an empty disk and serves it.
func newSimServer(t *testing.T, network *simNetwork, opts ...Option) *simServer {
	t.Helper()
	s := &simServer{t: t, net: network, opts: opts}
	s.bed = newBed(t, opts...)
	s.serve()
	return s
}

func (s *simServer) now() *bed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bed
}

// serve opens the door.
func (s *simServer) serve() {
	s.t.Helper()
	s.socket = s.net.endpoint(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 4740})
	var err error
	s.door, err = Serve(soon(s.t), s.now().Bus, ServeConfig{Listen: simAddress, packets: s.socket,
		DrainFor: 3 * time.Second})
	if err != nil {
		s.t.Fatalf("Serve: %v", err)
	}
}

// drain closes the door politely.
func (s *simServer) drain() {
	s.t.Helper()
	if err := s.door.Close(); err != nil {
		s.t.Errorf("Close of the server: %v", err)
	}
	s.socket.close()
}

// restart opens the node again on the same disk, down for a while. The door has to be closed.
func (s *simServer) restart(down time.Duration) {
	s.t.Helper()
	b := s.now()
	b.close()
	pass(down)
	s.replace(openBed(s.t, b.fs, s.opts...))
}

func (s *simServer) replace(b *bed) {
	s.mu.Lock()
	s.bed = b
	s.mu.Unlock()
	s.serve()
}

// powerCut takes the power from the node: nothing more comes from it, and what was not synced may be gone.
func (s *simServer) powerCut(seed uint64, down time.Duration) {
	s.t.Helper()
	b := s.now()
	s.net.setApart("127.0.0.1", true)
	fs := b.fs.Crash(seed)
	s.socket.close()
	s.drainDead()
	b.close()
	pass(down)
	s.net.setApart("127.0.0.1", false)
	s.replace(openBed(s.t, fs, s.opts...))
}

// drainDead ends the door of a node that is dead for everybody else.
func (s *simServer) drainDead() {
	s.door.drain = time.Millisecond
	if err := s.door.Close(); err != nil {
		s.t.Errorf("Close of the server: %v", err)
	}
}

// stop ends everything; all clients have closed.
func (s *simServer) stop() {
	s.t.Helper()
	s.drain()
	s.now().close()
	s.net.conns.Wait()
	pass(time.Minute) // what the library still has to forget
}

// dial gives a client at 127.0.0.<host>.
func (s *simServer) dial(host byte, options ...leat.DialOption) *leat.Bus {
	s.t.Helper()
	ctx := dialer.With(soon(s.t), s.net.dialFrom(net.IPv4(127, 0, 0, host).To4()))
	bus, err := leat.Dial(ctx, simAddress, options...)
	if err != nil {
		s.t.Fatalf("Dial: %v", err)
	}
	return bus
}

// unavailable reports whether err says that the node could not be reached.
func unavailable(err error) bool { return core.CodeOf(err) == core.CodeUnavailable }
