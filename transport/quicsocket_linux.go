package transport

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Sizes of what one read can give.
const (
	joinedBytes  = 1<<16 - 1 // the largest datagram
	controlBytes = 256
)

// joinedSocket reads with generic receive offload: the kernel joins datagrams of equal size from one sender
// into one of up to 64 KiB, and ReadBatch takes it apart again. A receiver saves most of its system calls.
//
// Invariant: readers get whole control messages only, for the library gives up a socket over half a one.
type joinedSocket struct {
	udpSocket

	// The rest belongs to the one goroutine that reads.
	buf     []byte
	oob     []byte
	rest    []byte // of buf: not given out yet
	size    int    // of the packets in rest, the last of which may be smaller
	control []byte // of every packet in rest
	from    netip.AddrPort
	addr    *net.UDPAddr // from
}

// withOffload makes s read with offload, and gives it as it is if the kernel cannot (before 5.0).
func withOffload(s udpSocket) net.PacketConn {
	raw, err := s.SyscallConn()
	if err != nil {
		return &s
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	if err != nil || refused != nil {
		return &s
	}
	return &joinedSocket{udpSocket: s, buf: make([]byte, joinedBytes), oob: make([]byte, controlBytes)}
}

// ReadBatch fills messages, at least one, each with one packet. The library reads through it because it is
// there.
func (s *joinedSocket) ReadBatch(messages []ipv4.Message, _ int) (int, error) {
	for len(s.rest) == 0 {
		if err := s.read(); err != nil {
			return 0, err
		}
	}
	filled := 0
	for ; filled < len(messages) && len(s.rest) > 0; filled++ {
		packet := s.rest[:min(s.size, len(s.rest))]
		s.rest = s.rest[len(packet):]
		m := &messages[filled]
		m.N = copy(m.Buffers[0], packet)
		m.NN = 0
		if len(s.control) <= len(m.OOB) {
			m.NN = copy(m.OOB, s.control)
		}
		m.Addr, m.Flags = s.addr, 0
	}
	return filled, nil
}

// read waits for the next datagram, which may be empty.
func (s *joinedSocket) read() error {
	n, controls, _, from, err := s.ReadMsgUDPAddrPort(s.buf, s.oob)
	if err != nil {
		return err
	}
	if from != s.from || s.addr == nil {
		// Connections keep the address: a new one for each sender, never a changed one.
		s.from, s.addr = from, net.UDPAddrFromAddrPort(from)
	}
	s.rest = s.buf[:n]
	s.control, s.size = splitControl(s.oob[:controls])
	if s.size <= 0 {
		s.size = max(n, 1)
	}
	return nil
}

// splitControl takes the size of the joined packets out of control messages, 0 if it is not there. It works
// in place and drops what it cannot read.
func splitControl(oob []byte) (others []byte, size int) {
	kept := 0
	for rest := oob; len(rest) >= unix.CmsgLen(0); { // the parser does not look whether a header fits
		header, data, after, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		message := rest[:len(rest)-len(after)]
		if header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO {
			if len(data) >= 4 {
				size = int(int32(binary.NativeEndian.Uint32(data)))
			}
		} else {
			kept += copy(oob[kept:], message)
		}
		rest = after
	}
	return oob[:kept], size
}
