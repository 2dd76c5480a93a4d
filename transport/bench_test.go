package transport

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/leatbus/leat/transport/wire"
)

// benchPair is a connection over loopback, with offload on both sides or on none.
func benchPair(b *testing.B, offload bool) (dialed, accepted Conn) {
	ca := newAuthority(b)
	server, client := ListenConfig{TLS: ca.server()}, DialConfig{TLS: ca.client()}
	if !offload {
		server.PacketConn, client.PacketConn = udp(b, "127.0.0.1:0"), udp(b, "127.0.0.1:0")
		for _, conn := range []net.PacketConn{server.PacketConn, client.PacketConn} {
			if _, ok := conn.(*net.UDPConn); !ok {
				b.Fatalf("%T is no plain socket", conn)
			}
		}
	}
	return connect(b, listen(b, server), client)
}

// BenchmarkThroughput sends frames with 64 KiB one way, each read by a Reader. MB/s are of payload.
func BenchmarkThroughput(b *testing.B) {
	for _, bm := range []struct {
		name    string
		streams int
		offload bool
	}{
		{"1 stream, GRO", 1, true},
		{"1 stream, no GRO", 1, false},
		{"4 streams, GRO", 4, true},
		{"4 streams, no GRO", 4, false},
	} {
		b.Run(bm.name, func(b *testing.B) {
			dialed, accepted := benchPair(b, bm.offload)
			const payload = 64 << 10
			whole := frame(wire.Batch, payload)
			b.SetBytes(payload)
			b.ReportAllocs()
			lanes, readers := make([]*Lane, bm.streams), make([]io.Reader, bm.streams)
			for i := range bm.streams {
				here, there := openStream(b, dialed, accepted)
				lanes[i], readers[i] = NewLane(here, 256<<10), there
			}
			b.ResetTimer()
			var running sync.WaitGroup
			for i := range bm.streams {
				frames := (b.N + i) / bm.streams
				running.Go(func() { sendFrames(b, lanes[i], whole, frames) })
				running.Go(func() { drainFrames(b, readers[i], frames) })
			}
			running.Wait()
			b.ReportMetric(float64(dialed.Stats().LostPackets), "lost")
		})
	}
}

func sendFrames(b *testing.B, lane *Lane, whole []byte, frames int) {
	for range frames {
		if err := lane.Send(whole); err != nil {
			b.Error(err)
			return
		}
	}
}

func drainFrames(b *testing.B, from io.Reader, frames int) {
	r, buf := NewReader(from, wire.MaxPayload), []byte(nil)
	for range frames {
		_, err := r.Next()
		if err == nil {
			buf, err = r.Payload(buf)
		}
		if err != nil {
			b.Error(err)
			return
		}
	}
}

// BenchmarkEcho is the time a frame with 64 bytes takes there and back, one at a time.
func BenchmarkEcho(b *testing.B) {
	for name, offload := range map[string]bool{"GRO": true, "no GRO": false} {
		b.Run(name, func(b *testing.B) {
			dialed, accepted := benchPair(b, offload)
			here, there := openStream(b, dialed, accepted)
			go func() { _ = echo(there) }()
			lane, r, whole := NewLane(here, 64<<10), NewReader(here, 64), frame(wire.Ping, 64)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if err := lane.Send(whole); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Small(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
