package netfault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports that FreeAddress gives. Whoever asks for any port gets one above: Linux has them from 32768 on,
// others from 49152 on.
const (
	portFirst = 10_000
	portEnd   = 30_000
	portTries = 1000
)

// given are the ports that this process was given.
var given = struct {
	mu    sync.Mutex // guards the following
	ports map[int]bool
}{ports: map[int]bool{}}

// FreeAddress gives an address of loopback, for network "udp" or "tcp", on which nobody listens, and each
// once. Nobody gets its port by chance while a test does not listen on it, not yet or not just now, as
// happens with one that the system has given.
func FreeAddress(network string) (string, error) {
	for range portTries {
		port := portFirst + rand.IntN(portEnd-portFirst)
		given.mu.Lock()
		known := given.ports[port]
		given.ports[port] = true
		given.mu.Unlock()
		address := fmt.Sprint("127.0.0.1:", port)
		if !known && free(network, address) {
			return address, nil
		}
	}
	return "", errors.New("netfault: no port of loopback is free for " + network)
}

// free reports whether somebody may listen on an address.
func free(network, address string) bool {
	if network == "udp" {
		conn, err := net.ListenPacket(network, address)
		return err == nil && conn.Close() == nil
	}
	listener, err := net.Listen(network, address)
	return err == nil && listener.Close() == nil
}
