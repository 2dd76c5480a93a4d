package transport

import "net"

// udpSocket is a UDP socket. One that is connected gets errors of ICMP, so that a port where nobody listens
// ends its connection at once, and not after a timeout; QUIC names the target of every packet all the same.
type udpSocket struct {
	*net.UDPConn
	connected bool
}

// dialSocket makes the socket of one connection.
func dialSocket(target *net.UDPAddr) (net.PacketConn, error) {
	conn, err := net.DialUDP("udp", nil, target)
	if err != nil {
		return nil, err
	}
	return withOffload(udpSocket{UDPConn: conn, connected: true}), nil
}

// listenSocket makes the socket of a listener.
func listenSocket(address string) (net.PacketConn, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, err
	}
	return withOffload(udpSocket{UDPConn: conn}), nil
}

// WriteMsgUDP sends to addr, which is the only possible one if the socket is connected.
func (s *udpSocket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if s.connected {
		addr = nil
	}
	return s.UDPConn.WriteMsgUDP(b, oob, addr)
}

// WriteTo is WriteMsgUDP where the library has no use for control messages.
func (s *udpSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if s.connected {
		return s.UDPConn.Write(b)
	}
	return s.UDPConn.WriteTo(b, addr)
}
