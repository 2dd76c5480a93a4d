//go:build !linux

package transport

import "net"

// withOffload gives the socket as it is: only Linux joins datagrams.
func withOffload(s udpSocket) net.PacketConn { return &s }
