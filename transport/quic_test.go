package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

const testProtocol = "leat-test/1"

// wantCode fails unless err carries the code; 0 means no error at all.
func wantCode(t *testing.T, call string, err error, want core.Code) {
	t.Helper()
	switch {
	case want == 0 && err != nil:
		t.Errorf("%s: error %v, want none", call, err)
	case want != 0 && (err == nil || core.CodeOf(err) != want):
		t.Errorf("%s: error %v, want %v", call, err, want)
	}
}

// listen listens on loopback until the test ends.
func listen(t testing.TB, cfg ListenConfig) *Listener {
	t.Helper()
	if cfg.Protocols == nil {
		cfg.Protocols = []string{testProtocol}
	}
	if cfg.IdleTimeout == 0 { // a busy machine is silent, too
		cfg.IdleTimeout = time.Minute
	}
	l, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial makes a connection that ends with the test. It has the patience that a busy machine needs.
func dial(t testing.TB, address string, cfg DialConfig) Conn {
	t.Helper()
	cfg.Protocol, cfg.HandshakeTimeout = testProtocol, time.Minute
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Minute
	}
	conn, err := Dial(t.Context(), address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(0, "") })
	return conn
}

// connect makes both ends of a connection that ends with the test.
func connect(t testing.TB, l *Listener, cfg DialConfig) (dialed, accepted Conn) {
	t.Helper()
	dialed = dial(t, l.Addr().String(), cfg)
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

// pair is connect with certificates that verify.
func pair(t testing.TB) (dialed, accepted Conn) {
	t.Helper()
	ca := newAuthority(t)
	return connect(t, listen(t, ListenConfig{TLS: ca.server()}), DialConfig{TLS: ca.client()})
}

// openStream makes both ends of a stream; the first byte is used to tell the other side of it.
func openStream(t testing.TB, from, to Conn) (opened, accepted Stream) {
	t.Helper()
	opened, err := from.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = opened.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if accepted, err = to.AcceptStream(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(accepted, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
	}
}

func TestStreamsOverQUIC(t *testing.T) {
	dialed, accepted := pair(t)
	for _, c := range []Conn{dialed, accepted} {
		if got := c.Protocol(); got != testProtocol {
			t.Errorf("Protocol = %q, want %q", got, testProtocol)
		}
		if c.Err() != nil {
			t.Errorf("Err of an open connection = %v", c.Err())
		}
	}
	if got := len(dialed.PeerCertificates()); got != 1 {
		t.Errorf("the client sees %d verified certificates, want 1", got)
	}
	if got := len(accepted.PeerCertificates()); got != 0 {
		t.Errorf("the server sees %d verified certificates, want 0", got)
	}

	here, there := openStream(t, dialed, accepted)
	want := bytes.Repeat([]byte("leat"), 1<<20)
	go func() {
		_, _ = here.Write(want)
		_ = here.Close()
	}()
	got, err := io.ReadAll(there)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v; want the %d bytes sent", len(got), err, len(want))
	}
	if _, err = there.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err = there.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err = io.ReadAll(here); err != nil || string(got) != "answer" {
		t.Fatalf("read %q, %v; want the answer", got, err)
	}
	if s := dialed.Stats(); s.RTT <= 0 || s.SentBytes < uint64(len(want)) || s.RecvBytes == 0 {
		t.Errorf("Stats = %+v after %d bytes", s, len(want))
	}
}

func TestEndsCarryCodes(t *testing.T) {
	tests := []struct {
		name         string
		code         core.Code
		local, other core.Code
	}{
		{"normal", 0, core.CodeClosed, core.CodeUnavailable},
		{"with a code", core.CodeDraining, core.CodeDraining, core.CodeDraining},
		{"a code nobody knows", 65000, 65000, 65000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dialed, accepted := pair(t)
			here, there := openStream(t, dialed, accepted)
			accepted.Close(tt.code, "because")
			accepted.Close(core.CodeInternal, "again")
			wait(t, "the end", dialed.Done())
			wantCode(t, "Err of who closed", accepted.Err(), tt.local)
			wantCode(t, "Err of the other", dialed.Err(), tt.other)
			_, err := there.Read(make([]byte, 1))
			wantCode(t, "Read of who closed", err, tt.local)
			_, err = here.Read(make([]byte, 1))
			wantCode(t, "Read of the other", err, tt.other)
			_, err = here.Write([]byte("x"))
			wantCode(t, "Write of the other", err, tt.other)
			_, err = dialed.OpenStream(t.Context())
			wantCode(t, "OpenStream of the other", err, tt.other)
			_, err = accepted.AcceptStream(t.Context())
			wantCode(t, "AcceptStream of who closed", err, tt.local)
		})
	}
}

func TestResetEndsBothDirections(t *testing.T) {
	dialed, accepted := pair(t)
	here, there := openStream(t, dialed, accepted)
	there.Reset(core.CodeProducerFenced)
	_, err := here.Read(make([]byte, 1))
	wantCode(t, "Read of the other", err, core.CodeProducerFenced)
	for err = nil; err == nil; {
		_, err = here.Write(make([]byte, 1<<10))
	}
	wantCode(t, "Write of the other", err, core.CodeProducerFenced)
	_, err = there.Read(make([]byte, 1))
	wantCode(t, "Read of who reset", err, core.CodeProducerFenced)
	_, err = there.Write([]byte("x"))
	wantCode(t, "Write of who reset", err, core.CodeProducerFenced)
	if dialed.Err() != nil {
		t.Errorf("the connection ended with its stream: %v", dialed.Err())
	}
}

func TestDialFails(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	mutual := ca.server()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
	foreign := ca.client()
	foreign.Certificates = []tls.Certificate{other.issue()}
	name := ca.client()
	name.ServerName = "elsewhere"

	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()

	open := listen(t, ListenConfig{TLS: ca.server()}).Addr().String()
	closedDoor := listen(t, ListenConfig{TLS: mutual}).Addr().String()
	tests := []struct {
		name    string
		address string
		tls     *tls.Config
		proto   string
		want    core.Code
	}{
		{"CA unknown", open, other.client(), testProtocol, core.CodeUntrusted},
		{"another name", open, name, testProtocol, core.CodeUntrusted},
		{"the CAs of the system", open, nil, testProtocol, core.CodeUntrusted},
		{"no protocol in common", open, ca.client(), "h3", core.CodeUnsupported},
		{"no certificate", closedDoor, ca.client(), testProtocol, core.CodeDenied},
		{"a certificate of another CA", closedDoor, foreign, testProtocol, core.CodeDenied},
		{"nobody answers", silent.LocalAddr().String(), ca.client(), testProtocol, core.CodeUnavailable},
		{"nobody listens", closed.LocalAddr().String(), ca.client(), testProtocol, core.CodeUnavailable},
		{"no such host", "host.invalid:4740", ca.client(), testProtocol, core.CodeUnavailable},
		{"no port", "127.0.0.1", ca.client(), testProtocol, core.CodeInvalidConfig},
		{"no protocol", open, ca.client(), "", core.CodeInvalidConfig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			patience := time.Minute
			if tt.name == "nobody answers" {
				patience = 300 * time.Millisecond
			}
			conn, err := Dial(t.Context(), tt.address, DialConfig{TLS: tt.tls, Protocol: tt.proto,
				HandshakeTimeout: patience})
			if err == nil { // the server judges after the client thinks it is through
				defer conn.Close(0, "")
				wait(t, "the refusal", conn.Done())
				err = conn.Err()
				_, opening := conn.OpenStream(t.Context())
				wantCode(t, "OpenStream", opening, tt.want)
			}
			wantCode(t, "Dial", err, tt.want)
		})
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, silent.LocalAddr().String(), DialConfig{Protocol: testProtocol})
	wantCode(t, "Dial", err, core.CodeUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Dial = %v, want it to name the context's end", err)
	}
}

func TestMutualTLSShowsTheClient(t *testing.T) {
	ca := newAuthority(t)
	server, client := ca.server(), ca.client()
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
	client.Certificates = []tls.Certificate{ca.issue()}
	_, accepted := connect(t, listen(t, ListenConfig{TLS: server}), DialConfig{TLS: client})
	if got := len(accepted.PeerCertificates()); got != 1 {
		t.Errorf("the server sees %d verified certificates, want 1", got)
	}
}
