package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/transport/wire"
	"github.com/quic-go/quic-go/testutils/simnet"
)

// simPath is a path of the simulated network.
type simPath struct {
	simnet.PerfectRouter
	latency time.Duration // one way
	jitter  time.Duration // up to this much more, which changes the order
	loss    float64

	mu     sync.Mutex // guards the following
	random *rand.Rand
	lost   int
	passed int
}

// SendPacket implements simnet.Router: it loses packets.
func (p *simPath) SendPacket(packet simnet.Packet) error {
	p.mu.Lock()
	lose := p.random.Float64() < p.loss
	if lose {
		p.lost++
	} else {
		p.passed++
	}
	p.mu.Unlock()
	if lose {
		return nil
	}
	return p.PerfectRouter.SendPacket(packet)
}

func (p *simPath) delay(simnet.Packet) time.Duration {
	if p.jitter == 0 {
		return p.latency
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latency + time.Duration(p.random.Int64N(int64(p.jitter)))
}

// simulate runs f on both ends of a connection over the path, in virtual time.
func simulate(t *testing.T, seed uint64, path *simPath,
	f func(t *testing.T, l *Listener, dialed, accepted Conn)) {
	synctest.Test(t, func(t *testing.T) {
		path.random = rand.New(rand.NewPCG(seed, 1))
		network := &simnet.Simnet{Router: path}
		link := simnet.NodeBiDiLinkSettings{LatencyFunc: path.delay,
			Uplink: simnet.LinkSettings{MTU: 1500}, Downlink: simnet.LinkSettings{MTU: 1500}}
		here := network.NewEndpoint(&net.UDPAddr{IP: net.IPv4(1, 0, 0, 2).To4(), Port: 9000}, link)
		there := network.NewEndpoint(&net.UDPAddr{IP: net.IPv4(1, 0, 0, 1).To4(), Port: 4740}, link)
		if err := network.Start(); err != nil {
			t.Fatal(err)
		}
		ca := newAuthority(t)
		l, err := Listen("", ListenConfig{TLS: ca.server(), Protocols: []string{testProtocol}, PacketConn: there})
		if err != nil {
			t.Fatal(err)
		}
		dialed, err := Dial(t.Context(), "1.0.0.1:4740", DialConfig{TLS: ca.client(), Protocol: testProtocol,
			PacketConn: here, HandshakeTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f(t, l, dialed, accepted)
		dialed.Close(0, "")
		_ = l.Close()
		_ = here.Close()
		_ = there.Close()
		if err = network.Close(); err != nil {
			t.Error(err)
		}
		<-time.After(time.Minute) // what the library still has to forget
	})
}

// simSeeds are those to run: a few, more without -short, or the one of LEAT_SEED.
func simSeeds(t *testing.T) []uint64 {
	if text := os.Getenv("LEAT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	n := 24
	if testing.Short() {
		n = 4
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i) + 1
	}
	return seeds
}

// TestFramesArriveInOrder sends frames on many streams, has each sent back, and looks at every byte.
func TestFramesArriveInOrder(t *testing.T) {
	for _, seed := range simSeeds(t) {
		t.Run(fmt.Sprintf("LEAT_SEED=%d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			path := &simPath{latency: time.Duration(1+random.IntN(40)) * time.Millisecond,
				jitter: time.Duration(random.IntN(5)) * time.Millisecond, loss: 0.005 + 0.045*random.Float64()}
			simulate(t, seed, path, func(t *testing.T, _ *Listener, dialed, accepted Conn) {
				echoed := make(chan error, 1)
				go func() { echoed <- echoStreams(accepted, simStreams) }()
				var clients sync.WaitGroup
				for stream := range simStreams {
					clients.Go(func() {
						if err := sendAndCheck(dialed, seed, stream); err != nil {
							t.Errorf("LEAT_SEED=%d, stream %d: %v", seed, stream, err)
						}
					})
				}
				clients.Wait()
				if err := <-echoed; err != nil {
					t.Errorf("LEAT_SEED=%d: echo: %v", seed, err)
				}
			})
			if path.lost == 0 {
				t.Errorf("LEAT_SEED=%d: no packet of %d was lost at %.3f", seed, path.passed, path.loss)
			}
		})
	}
}

const (
	simStreams = 16
	simFrames  = 40
)

// simFrame is frame i of a stream.
func simFrame(seed uint64, stream, i int) (wire.Header, []byte) {
	random := rand.New(rand.NewPCG(seed, uint64(stream)<<32|uint64(i)))
	payload := make([]byte, random.IntN(1<<(4+random.IntN(11))))
	for j := range payload {
		payload[j] = byte(random.Uint32())
	}
	h := wire.Header{Length: uint32(len(payload)), Type: wire.Produce, Aux: uint16(stream), Arg: uint64(i)}
	return h, payload
}

// sendAndCheck sends the frames of a stream and compares what comes back.
func sendAndCheck(conn Conn, seed uint64, number int) error {
	stream, err := conn.OpenStream(context.Background())
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		lane := NewLane(stream, 64<<10)
		for i := range simFrames {
			h, payload := simFrame(seed, number, i)
			if err := lane.Send(append(h.Append(nil), payload...)); err != nil {
				sent <- err
				return
			}
		}
		sent <- lane.Close()
	}()
	reader := NewReader(stream, wire.MaxPayload)
	var buf []byte
	for i := range simFrames {
		want, payload := simFrame(seed, number, i)
		got, err := reader.Next()
		if err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
		if got != want {
			return fmt.Errorf("frame %d: header %+v, want %+v", i, got, want)
		}
		if buf, err = reader.Payload(buf); err != nil || !bytes.Equal(buf, payload) {
			return fmt.Errorf("frame %d: payload of %d bytes, %v; want the %d sent", i, len(buf), err, len(payload))
		}
	}
	if _, err = reader.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the last frame: %v, want io.EOF", err)
	}
	return <-sent
}

// echoStreams sends back what comes on n streams.
func echoStreams(conn Conn, n int) error {
	failed := make(chan error, n)
	for range n {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return err
		}
		go func() { failed <- echo(stream) }()
	}
	var all error
	for range n {
		all = errors.Join(all, <-failed)
	}
	return all
}

func echo(stream Stream) error {
	reader, lane := NewReader(stream, wire.MaxPayload), NewLane(stream, 64<<10)
	for {
		h, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return lane.Close()
		}
		if err != nil {
			return err
		}
		payload, err := reader.Small()
		if err != nil {
			return err
		}
		if err = lane.Send(append(h.Append(nil), payload...)); err != nil {
			return err
		}
	}
}

// TestWindows holds the receive window to its two rules: it stays small on a short path, and does not limit
// a long one.
func TestWindows(t *testing.T) {
	tests := []struct {
		name   string
		rtt    time.Duration
		grows  bool
		within time.Duration // for 24 MiB
	}{
		{"short path", 400 * time.Microsecond, false, 2 * time.Second},
		// With the first window alone it would take 24 MiB / 320 KiB × 50 ms = 3.8 s.
		{"long path", 50 * time.Millisecond, true, 1300 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := &simPath{latency: tt.rtt / 2}
			simulate(t, 1, path, func(t *testing.T, l *Listener, dialed, accepted Conn) {
				here, there := openStream(t, dialed, accepted)
				began := time.Now()
				go func() {
					_, _ = here.Write(make([]byte, 24<<20))
					_ = here.Close()
				}()
				if n, err := io.Copy(io.Discard, there); n != 24<<20 || err != nil {
					t.Fatalf("received %d bytes, %v", n, err)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("24 MiB took %v, want at most %v", took, tt.within)
				}
				if grown := defaultBudget - l.budgetLeft(); (grown > 0) != tt.grows || grown > connWindow {
					t.Errorf("the window grew by %d bytes at a round trip of %v", grown, tt.rtt)
				}
				dialed.Close(0, "")
				<-accepted.Done()
				synctest.Wait()
				if left := l.budgetLeft(); left != defaultBudget {
					t.Errorf("%d bytes of the budget left after the connection, want all %d", left, defaultBudget)
				}
			})
		})
	}
}

func (l *Listener) budgetLeft() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget
}
