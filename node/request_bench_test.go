package node

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// benchTrips makes round trips one after the other, or from several goroutines at once.
func benchTrips(b *testing.B, trip func() error) {
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		took := make([]time.Duration, 0, b.N)
		for b.Loop() {
			began := time.Now()
			if err := trip(); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2])/1e3, "µs-p50")
		b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "trips/s")
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := trip(); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "trips/s")
	})
}

// BenchmarkRequest is requests of 64 bytes to an echo: in the process, over QUIC from one client to another,
// and beside them between two goroutines over a channel.
func BenchmarkRequest(b *testing.B) {
	b.Setenv("LEAT_CONFIG_DIR", b.TempDir())
	bus, err := Open(b.Context(), b.TempDir(), WithTopic("near", leat.TopicConfig{}),
		WithTopic("far", leat.TopicConfig{}))
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	server, err := Serve(b.Context(), bus, ServeConfig{Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	echo := func(_ context.Context, m *leat.Message) (leat.Message, error) {
		return leat.Message{Value: m.Value}, nil
	}
	m := leat.Message{Value: make([]byte, 64)}
	run := func(name, topic string, asker, responder *leat.Bus) {
		b.Run(name, func(b *testing.B) {
			r, err := responder.Respond(topic, echo)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			benchTrips(b, func() error {
				_, err := asker.Request(b.Context(), topic, m)
				return err
			})
		})
	}
	var clients [2]*leat.Bus
	for i := range clients {
		if clients[i], err = leat.Dial(b.Context(), server.Addr().String()); err != nil {
			b.Fatal(err)
		}
		defer clients[i].Close()
	}
	run("embedded", "near", bus, bus)
	run("quic", "far", clients[0], clients[1])
	b.Run("channel", func(b *testing.B) {
		type asked struct {
			value []byte
			reply chan []byte
		}
		asks := make(chan asked)
		defer close(asks)
		for range 2 {
			go func() {
				for a := range asks {
					a.reply <- a.value
				}
			}()
		}
		benchTrips(b, func() error {
			a := asked{m.Value, make(chan []byte, 1)}
			asks <- a
			<-a.reply
			return nil
		})
	})
}
