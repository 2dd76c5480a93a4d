package netfault

import (
	"net"
	"testing"
)

// TestFreeAddress: each is another one, and can be listened on.
func TestFreeAddress(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		address, err := FreeAddress("udp")
		if err != nil || seen[address] {
			t.Fatalf("FreeAddress = %s, %v, given before: %v", address, err, seen[address])
		}
		seen[address] = true
		conn, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if free("udp", address) {
			t.Errorf("%s, which somebody listens on, is free", address)
		}
	}
	address, err := FreeAddress("tcp")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if free("tcp", address) {
		t.Errorf("%s, which somebody listens on, is free", address)
	}
	if address, err := FreeAddress("nothing"); err == nil {
		t.Errorf("of no network: %s", address)
	}
}
