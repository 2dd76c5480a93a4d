package main

import (
	"os"
	"testing"
	"time"
)

// TestMain lets the test binary be the server processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == natsVerb || os.Args[1] == leatVerb) {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestNATSRound: the peer delivers everything in order and tells a rate.
func TestNATSRound(t *testing.T) {
	peer, err := startNATS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rate, err := peer.Round(t.Context(), 50*time.Millisecond, 64)
	if err != nil || rate <= 0 {
		t.Errorf("Round = %v, %v; want a rate", rate, err)
	}
	if peer.delivered.Load() != peer.sent || peer.sent == 0 {
		t.Errorf("%d of %d delivered", peer.delivered.Load(), peer.sent)
	}
	if err := peer.close(); err != nil {
		t.Error(err)
	}
}
