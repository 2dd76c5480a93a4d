package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/quic-go/quic-go"
)

// mutedConn loses what is sent after mute: its side dies without a word.
type mutedConn struct {
	net.PacketConn
	muted atomic.Bool
}

// WriteTo implements net.PacketConn.
func (c *mutedConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, addr)
}

// die ends a listener as a killed process does.
func (c *mutedConn) die(l *Listener) {
	c.muted.Store(true)
	_ = l.Close()
	_ = c.PacketConn.Close()
}

func udp(t testing.TB, address string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRestartResetsConnections(t *testing.T) {
	ca := newAuthority(t)
	cfg := ListenConfig{TLS: ca.server(), ResetKey: [32]byte{1}, IdleTimeout: time.Minute}
	first := &mutedConn{PacketConn: udp(t, "127.0.0.1:0")}
	cfg.PacketConn = first
	l := listen(t, cfg)
	// The client's socket is not connected: ICMP would tell it as well.
	dialed, accepted := connect(t, l, DialConfig{TLS: ca.client(), IdleTimeout: time.Minute,
		PacketConn: udp(t, "127.0.0.1:0")})
	here, _ := openStream(t, dialed, accepted)

	first.die(l)
	cfg.PacketConn = udp(t, first.LocalAddr().String())
	listen(t, cfg)
	if _, err := here.Write([]byte("to the server of before")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the reset", dialed.Done())
	wantCode(t, "Err", dialed.Err(), core.CodeUnavailable)
	if reset := new(quic.StatelessResetError); !errors.As(dialed.Err(), &reset) {
		t.Errorf("Err = %v, want a stateless reset", dialed.Err())
	}
}

func TestDeadServerIsNoticedAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("reports unreachable ports differently")
	}
	ca := newAuthority(t)
	socket := &mutedConn{PacketConn: udp(t, "127.0.0.1:0")}
	l := listen(t, ListenConfig{TLS: ca.server(), PacketConn: socket, IdleTimeout: time.Minute})
	dialed, accepted := connect(t, l, DialConfig{TLS: ca.client(), IdleTimeout: time.Minute})
	here, _ := openStream(t, dialed, accepted)
	socket.die(l)
	_, _ = here.Write([]byte("to nobody"))
	wait(t, "the end", dialed.Done())
	wantCode(t, "Err", dialed.Err(), core.CodeUnavailable)
}

func TestSilenceEndsAConnection(t *testing.T) {
	path := &simPath{latency: time.Millisecond}
	simulate(t, 1, path, func(t *testing.T, _ *Listener, dialed, accepted Conn) {
		<-time.After(time.Hour) // keep-alives hold it
		if dialed.Err() != nil || accepted.Err() != nil {
			t.Fatalf("an idle connection ended: %v, %v", dialed.Err(), accepted.Err())
		}
		path.mu.Lock()
		path.loss = 1
		path.mu.Unlock()
		cut := time.Now()
		<-dialed.Done()
		<-accepted.Done()
		if took := time.Since(cut); took > 14*time.Second {
			t.Errorf("the end of the path was noticed after %v, want the idle time and a keep-alive", took)
		}
		wantCode(t, "Err", dialed.Err(), core.CodeUnavailable)
		wantCode(t, "Err", accepted.Err(), core.CodeUnavailable)
	})
}

func TestStopAccepting(t *testing.T) {
	ca := newAuthority(t)
	l := listen(t, ListenConfig{TLS: ca.server()})
	dialed, accepted := connect(t, l, DialConfig{TLS: ca.client()})
	waiting := make(chan error, 1)
	go func() {
		_, err := l.Accept(context.Background())
		waiting <- err
	}()
	l.StopAccepting()
	l.StopAccepting()
	wantCode(t, "the Accept under way", <-waiting, core.CodeDraining)
	_, err := l.Accept(t.Context())
	wantCode(t, "Accept", err, core.CodeDraining)

	_, err = Dial(t.Context(), l.Addr().String(), DialConfig{TLS: ca.client(), Protocol: testProtocol,
		HandshakeTimeout: time.Minute})
	wantCode(t, "Dial", err, core.CodeUnavailable)
	if err == nil || !strings.Contains(err.Error(), "CONNECTION_REFUSED") {
		t.Errorf("Dial = %v, want a refusal", err)
	}

	here, there := openStream(t, dialed, accepted)
	if _, err = there.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(here, make([]byte, 1)); err != nil {
		t.Errorf("a connection of before: %v", err)
	}
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end", dialed.Done())
	_, err = l.Accept(t.Context())
	wantCode(t, "Accept after Close", err, core.CodeDraining)
}

func TestCloseOfAListener(t *testing.T) {
	ca := newAuthority(t)
	l := listen(t, ListenConfig{TLS: ca.server()})
	dialed, accepted := connect(t, l, DialConfig{TLS: ca.client()})
	waiting := make(chan error, 1)
	go func() {
		_, err := l.Accept(context.Background())
		waiting <- err
	}()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "Accept", <-waiting, core.CodeClosed)
	wantCode(t, "Err here", accepted.Err(), core.CodeClosed)
	wait(t, "the end", dialed.Done())
	wantCode(t, "Err there", dialed.Err(), core.CodeUnavailable)
	again, err := Listen(l.Addr().String(), ListenConfig{TLS: ca.server(), Protocols: []string{testProtocol}})
	if err != nil {
		t.Fatalf("the address is still taken: %v", err)
	}
	_ = again.Close()
}

func TestListenFails(t *testing.T) {
	ca := newAuthority(t)
	taken := udp(t, "127.0.0.1:0").LocalAddr().String()
	full := ListenConfig{TLS: ca.server(), Protocols: []string{testProtocol}}
	tests := []struct {
		name, address string
		cfg           ListenConfig
		want          core.Code
	}{
		{"no certificate", "127.0.0.1:0", ListenConfig{Protocols: full.Protocols}, core.CodeInvalidConfig},
		{"no protocol", "127.0.0.1:0", ListenConfig{TLS: full.TLS}, core.CodeInvalidConfig},
		{"address taken", taken, full, core.CodeUnavailable},
		{"no address", "nonsense", full, core.CodeUnavailable},
	}
	for _, tt := range tests {
		_, err := Listen(tt.address, tt.cfg)
		wantCode(t, tt.name, err, tt.want)
	}
}

func TestStreamLimit(t *testing.T) {
	const limit = 1000
	ca := newAuthority(t)
	l := listen(t, ListenConfig{TLS: ca.server(), MaxStreams: limit})
	dialed, accepted := connect(t, l, DialConfig{TLS: ca.client()})
	var first, firstThere Stream
	for i := range limit {
		here, there := openStream(t, dialed, accepted)
		if i == 0 {
			first, firstThere = here, there
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := dialed.OpenStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("OpenStream beyond the limit = %v, want it to wait", err)
	}
	first.Reset(core.CodeClosed)
	if _, err := firstThere.Read(make([]byte, 1)); err == nil {
		t.Fatal("Read of a reset stream succeeded")
	}
	firstThere.Reset(core.CodeClosed)
	openStream(t, dialed, accepted)
}

// TestClientsOpenStreams: a server cannot fill a client with streams.
func TestClientsOpenStreams(t *testing.T) {
	_, accepted := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := accepted.OpenStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("OpenStream of the accepting side = %v, want it to wait", err)
	}
}

func TestManyHandshakesProveTheirAddress(t *testing.T) {
	ca := newAuthority(t)
	l := listen(t, ListenConfig{TLS: ca.server(), HandshakeRate: 1})
	for range 3 { // the second and third go through a Retry
		connect(t, l, DialConfig{TLS: ca.client()})
	}
	if l.gate.take() {
		t.Error("three handshakes in a moment left a token of one per second")
	}
}

func TestHandshakeGate(t *testing.T) {
	c := clock.NewManual(0)
	g := newHandshakeGate(c, 10)
	burst := func() (n int) {
		for g.take() {
			n++
		}
		return n
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 10}, {0, 0}, {99 * time.Millisecond, 0}, {time.Millisecond, 1}, {time.Second, 10}, {time.Hour, 10},
		{550 * time.Millisecond, 5}} {
		c.Advance(tt.after)
		if got := burst(); got != tt.want {
			t.Errorf("after %v more: %d handshakes, want %d", tt.after, got, tt.want)
		}
	}
}

func TestWindowBudget(t *testing.T) {
	known, short := &acceptedConn{}, &acceptedConn{}
	known.minRTT.Store(int64(20 * time.Millisecond))
	a, b := new(quic.Conn), new(quic.Conn)
	l := &Listener{budget: 100, conns: map[*quic.Conn]*acceptedConn{a: known, b: short}}
	for _, tt := range []struct {
		name  string
		conn  *quic.Conn
		delta uint64
		want  bool
		left  int64
	}{
		{"long path", a, 60, true, 40},
		{"more than is left", a, 41, false, 40},
		{"short path", b, 1, false, 40},
		{"not accepted yet", new(quic.Conn), 1, false, 40},
		{"the rest", a, 40, true, 0},
	} {
		if got := l.allowWindow(tt.conn, tt.delta); got != tt.want || l.budget != tt.left {
			t.Errorf("%s: %v, %d left; want %v, %d", tt.name, got, l.budget, tt.want, tt.left)
		}
	}
}
