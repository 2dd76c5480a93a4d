package netfault

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/internal/clock"
)

// Bounds of a relay.
const (
	maxClients = 1024
	maxWaiting = 16 << 10 // packets
	packetSize = 1 << 16
)

// Options are what New needs to know. The zero value relays without faults.
type Options struct {
	Seed     uint64 // of both directions
	ToTarget Faults
	ToClient Faults
	Clock    clock.Clock // nil: clock.System
}

// Relay passes packets between clients and a target. Its methods may be called by any goroutine.
type Relay struct {
	front    *net.UDPConn // clients send here
	target   atomic.Pointer[netip.AddrPort]
	cut      atomic.Bool
	toTarget *direction
	toClient *direction
	waiting  *delayLine
	running  sync.WaitGroup

	mu      sync.Mutex // guards the following
	clients map[netip.AddrPort]*net.UDPConn
	closed  bool
}

// New starts a relay to target, as in "127.0.0.1:4740", on a free port of loopback.
func New(target string, o Options) (*Relay, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	r := &Relay{clients: make(map[netip.AddrPort]*net.UDPConn), waiting: newDelayLine(o.Clock, maxWaiting)}
	r.toTarget = newDirection(o.ToTarget, o.Seed, 1)
	r.toClient = newDirection(o.ToClient, o.Seed, 2)
	if err := r.Retarget(target); err != nil {
		return nil, err
	}
	var err error
	if r.front, err = loopback(); err != nil {
		return nil, err
	}
	r.running.Go(r.readClients)
	r.running.Go(r.waiting.run)
	return r, nil
}

// loopback is a socket that holds a burst, if the host allows it.
func loopback() (*net.UDPConn, error) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err == nil {
		_ = socket.SetReadBuffer(4 << 20)
	}
	return socket, err
}

// Addr is where clients send to.
func (r *Relay) Addr() string { return r.front.LocalAddr().String() }

// Retarget sends everything to another target from now on. What the one before still sends is dropped.
func (r *Relay) Retarget(target string) error {
	addr, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return fmt.Errorf("netfault: target %q: %w", target, err)
	}
	at := addr.AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	r.target.Store(&at)
	return nil
}

// Cut drops everything in both directions, and what waits to be delivered, until Heal.
func (r *Relay) Cut() { r.cut.Store(true) }

// Heal ends a Cut.
func (r *Relay) Heal() { r.cut.Store(false) }

// SetFaults changes the faults of packets that come from now on.
func (r *Relay) SetFaults(toTarget, toClient Faults) {
	r.toTarget.set(toTarget)
	r.toClient.set(toClient)
}

// Counts tell what was done to packets so far.
func (r *Relay) Counts() (toTarget, toClient Counts) { return r.toTarget.read(), r.toClient.read() }

// Close ends the relay and waits for its goroutines. Further calls do nothing.
func (r *Relay) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		_ = r.front.Close()
		for _, socket := range r.clients {
			_ = socket.Close()
		}
		r.waiting.close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

// readClients passes on what clients send.
func (r *Relay) readClients() {
	buf := make([]byte, packetSize)
	for {
		n, client, err := r.front.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier packet
		}
		socket := r.socketOf(netip.AddrPortFrom(client.Addr().Unmap(), client.Port()))
		if socket == nil {
			r.toTarget.count(&r.toTarget.counts.Overflowed)
			continue
		}
		r.pass(r.toTarget, buf[:n], func(p []byte) { _, _ = socket.WriteToUDPAddrPort(p, *r.target.Load()) })
	}
}

// socketOf is the socket of a client towards the target; nil if there are too many, or after Close.
func (r *Relay) socketOf(client netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if socket := r.clients[client]; socket != nil || r.closed || len(r.clients) >= maxClients {
		return socket
	}
	socket, err := loopback()
	if err != nil {
		return nil
	}
	r.clients[client] = socket
	r.running.Go(func() { r.readTarget(socket, client) })
	return socket
}

// readTarget passes on what the target sends to a client.
func (r *Relay) readTarget(socket *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, packetSize)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != *r.target.Load() {
			continue
		}
		r.pass(r.toClient, buf[:n], func(p []byte) { _, _ = r.front.WriteToUDPAddrPort(p, client) })
	}
}

// pass does to a packet what the direction decides.
func (r *Relay) pass(d *direction, packet []byte, send func([]byte)) {
	if r.cut.Load() {
		d.count(&d.counts.Cut)
		return
	}
	copies, first, second := d.decide()
	for i := range copies {
		delay, number := first.delay, first.number
		if i == 1 {
			delay, number = second.delay, second.number
		}
		if delay == 0 {
			d.delivered(number)
			send(packet)
			continue
		}
		kept := append([]byte(nil), packet...)
		if !r.waiting.add(delay, func() {
			if r.cut.Load() {
				d.count(&d.counts.Cut)
				return
			}
			d.delivered(number)
			send(kept)
		}) {
			d.count(&d.counts.Overflowed)
		}
	}
}
