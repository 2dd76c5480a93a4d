package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// control is a control message as the kernel of a 64-bit machine lays it out.
func control(level, kind int32, data []byte) []byte {
	b := binary.NativeEndian.AppendUint64(nil, uint64(16+len(data)))
	b = binary.NativeEndian.AppendUint32(b, uint32(level))
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = append(b, data...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func skipUnless64Bit(t testing.TB) {
	if strconv.IntSize != 64 {
		t.Skip("control messages have another layout here")
	}
}

func TestSplitControl(t *testing.T) {
	skipUnless64Bit(t)
	u32 := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	gro := control(unix.IPPROTO_UDP, unix.UDP_GRO, u32(1200))
	tos := control(unix.IPPROTO_IP, unix.IP_TOS, []byte{2})
	info := control(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 12))
	long := control(unix.IPPROTO_IP, unix.IP_TOS, []byte{2})
	binary.NativeEndian.PutUint64(long, 1<<40)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name   string
		oob    []byte
		others []byte
		size   int
	}{
		{"nothing", nil, nil, 0},
		{"joined", gro, nil, 1200},
		{"first", join(gro, tos, info), join(tos, info), 1200},
		{"between", join(tos, gro, info), join(tos, info), 1200},
		{"last", join(tos, info, gro), join(tos, info), 1200},
		{"not joined", join(tos, info), join(tos, info), 0},
		{"size missing", join(tos, control(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{1, 2})), tos, 0},
		{"negative size", control(unix.IPPROTO_UDP, unix.UDP_GRO, u32(1<<31)), nil, -1 << 31},
		{"half a message", join(tos, info[:20]), tos, 0},
		{"half a header", join(tos, info[:7]), tos, 0},
		{"length beyond the end", join(tos, long), tos, 0},
		{"length zero", join(tos, make([]byte, 32)), tos, 0},
	}
	for _, tt := range tests {
		others, size := splitControl(bytes.Clone(tt.oob))
		if !bytes.Equal(others, tt.others) || size != tt.size {
			t.Errorf("%s: %x, size %d; want %x, size %d", tt.name, others, size, tt.others, tt.size)
		}
	}
}

func FuzzSplitControl(f *testing.F) {
	f.Add(control(unix.IPPROTO_UDP, unix.UDP_GRO, []byte{1, 2, 3, 4}))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, oob []byte) {
		others, _ := splitControl(bytes.Clone(oob))
		for len(others) > 0 { // the library gives up a socket over what it cannot parse
			_, _, rest, err := unix.ParseOneSocketControlMessage(others)
			if err != nil {
				t.Fatalf("%x: gives %x, which does not parse: %v", oob, others, err)
			}
			others = rest
		}
	})
}

// joined makes a socket that reads with offload, or skips the test.
func joined(t testing.TB) *joinedSocket {
	t.Helper()
	conn, err := listenSocket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s, ok := conn.(*joinedSocket)
	if !ok {
		t.Skip("the kernel does not join datagrams")
	}
	return s
}

func batchOf(n int) []ipv4.Message {
	messages := make([]ipv4.Message, n)
	for i := range messages {
		messages[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128)}
	}
	return messages
}

func TestJoinedDatagramsAreTakenApart(t *testing.T) {
	skipUnless64Bit(t)
	s := joined(t)
	sender, err := net.DialUDP("udp", nil, s.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()
	// Nineteen packets of 1200 bytes and a smaller one, in one call: they arrive joined.
	sent := make([]byte, 19*1200+500)
	for i := range sent {
		sent[i] = byte(i / 1200)
	}
	segment := control(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, 1200))
	if _, _, err = sender.WriteMsgUDP(sent, segment, nil); err != nil {
		t.Skipf("the kernel does not take packets apart on sending: %v", err)
	}
	var got, joinedInto = []byte(nil), 0
	messages := batchOf(8)
	for len(got) < len(sent) {
		_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := s.ReadBatch(messages, 0)
		if err != nil {
			t.Fatalf("ReadBatch: %v, after %d of %d bytes", err, len(got), len(sent))
		}
		joinedInto = max(joinedInto, n)
		for _, m := range messages[:n] {
			if want := min(1200, len(sent)-len(got)); m.N != want {
				t.Fatalf("a packet of %d bytes at %d, want %d", m.N, len(got), want)
			}
			if m.Addr.String() != sender.LocalAddr().String() {
				t.Fatalf("from %v, want %v", m.Addr, sender.LocalAddr())
			}
			got = append(got, m.Buffers[0][:m.N]...)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Error("the packets hold other bytes than were sent")
	}
	if joinedInto < 2 {
		t.Error("every packet came by itself: offload does not work")
	}
}

func TestReadBatchEnds(t *testing.T) {
	s := joined(t)
	_ = s.SetReadDeadline(time.Now())
	if n, err := s.ReadBatch(batchOf(1), 0); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ReadBatch at its deadline = %d, %v", n, err)
	}
	_ = s.Close()
	if n, err := s.ReadBatch(batchOf(1), 0); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch of a closed socket = %d, %v", n, err)
	}
}

func TestEmptyAndOversizedDatagrams(t *testing.T) {
	s := joined(t)
	sender, err := net.DialUDP("udp", nil, s.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()
	for _, size := range []int{0, 9000, 7} {
		if _, err = sender.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	for _, want := range []int{1452, 7} { // the empty one is skipped, the large one cut
		messages := batchOf(1)
		if n, err := s.ReadBatch(messages, 0); n != 1 || err != nil || messages[0].N != want {
			t.Errorf("ReadBatch = %d, %v with %d bytes; want one of %d bytes", n, err, messages[0].N, want)
		}
	}
}

func TestReadBatchDoesNotAllocate(t *testing.T) {
	s := joined(t)
	sender, err := net.DialUDP("udp", nil, s.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sender.Close() }()
	packet, messages := make([]byte, 1200), batchOf(1)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = sender.Write(packet)
		_, _ = s.ReadBatch(messages, 0)
	}); n != 0 {
		t.Errorf("%v allocations for a packet of the same sender, want 0", n)
	}
}
