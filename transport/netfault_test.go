package transport

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/netfault"
)

// TestFramesThroughFaults is TestFramesArriveInOrder over sockets of the kernel, with offload where it is.
func TestFramesThroughFaults(t *testing.T) {
	ca := newAuthority(t)
	l := listen(t, ListenConfig{TLS: ca.server()})
	faults := netfault.Faults{Loss: 0.02, Duplicate: 0.02, Delay: time.Millisecond, Jitter: time.Millisecond}
	const seed = 5
	relay, err := netfault.New(l.Addr().String(),
		netfault.Options{Seed: seed, ToTarget: faults, ToClient: faults})
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	dialed := dial(t, relay.Addr(), DialConfig{TLS: ca.client()})
	accepted, err := l.Accept(context.Background())
	if err != nil {
		t.Fatal(err)
	}
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
	if err = <-echoed; err != nil {
		t.Errorf("LEAT_SEED=%d: echo: %v", seed, err)
	}
	for _, c := range countsOf(relay) {
		if c.Lost == 0 || c.Duplicated == 0 || c.Reordered == 0 {
			t.Errorf("LEAT_SEED=%d: a fault did not fire: %+v", seed, c)
		}
	}
}

func countsOf(relay *netfault.Relay) []netfault.Counts {
	there, here := relay.Counts()
	return []netfault.Counts{there, here}
}

// TestRetargetedConnectionIsReset: a client that comes to another server by its path is told at once.
func TestRetargetedConnectionIsReset(t *testing.T) {
	ca := newAuthority(t)
	cfg := ListenConfig{TLS: ca.server(), ResetKey: [32]byte{1}}
	first, second := listen(t, cfg), listen(t, cfg)
	relay, err := netfault.New(first.Addr().String(), netfault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	dialed := dial(t, relay.Addr(), DialConfig{TLS: ca.client()})
	accepted, err := first.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here, _ := openStream(t, dialed, accepted)
	if err = relay.Retarget(second.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if _, err = here.Write([]byte("to another server")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the reset", dialed.Done())
	wantCode(t, "Err", dialed.Err(), core.CodeUnavailable)
}
