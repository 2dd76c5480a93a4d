package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/leatbus/leat"
)

// BenchmarkRequest is requests of 64 bytes from one connection to an echo at another, through a server in a
// process of its own: Leat over QUIC, and NATS core over TLS.
//
//	go test ./net -run '^$' -bench Request -benchtime 2s -count 5
func BenchmarkRequest(b *testing.B) {
	b.Run("leat", func(b *testing.B) {
		b.Setenv("LEAT_CONFIG_DIR", b.TempDir())
		const topic = "requests"
		address := startLeat(b)
		var buses [2]*leat.Bus
		for i := range buses {
			bus, err := leat.Dial(b.Context(), address)
			if err != nil {
				b.Fatal(err)
			}
			defer bus.Close()
			buses[i] = bus
		}
		if err := buses[0].CreateTopic(b.Context(), topic, leat.TopicConfig{Ack: leat.AckPage}); err != nil {
			b.Fatal(err)
		}
		r, err := buses[1].Respond(topic, func(_ context.Context, m *leat.Message) (leat.Message, error) {
			return leat.Message{Value: m.Value}, nil
		})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		m := leat.Message{Value: make([]byte, 64)}
		benchTrips(b, func() error {
			_, err := buses[0].Request(b.Context(), topic, m)
			return err
		})
	})
	b.Run("nats", func(b *testing.B) {
		peer, err := startNATS(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer peer.close()
		sub, err := peer.deliver.Subscribe("requests", func(m *nats.Msg) { _ = m.Respond(m.Data) })
		if err != nil {
			b.Fatal(err)
		}
		defer sub.Unsubscribe()
		if err := peer.deliver.Flush(); err != nil {
			b.Fatal(err)
		}
		value := make([]byte, 64)
		benchTrips(b, func() error {
			_, err := peer.publish.Request("requests", value, 10*time.Second)
			return err
		})
	})
}

// startLeat starts the server process of Leat and gives its address.
func startLeat(b *testing.B) string {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	process := exec.CommandContext(b.Context(), program, leatVerb, b.TempDir())
	process.Stderr = os.Stderr
	input, err := process.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := process.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = input.Close() // which ends it
		_ = process.Wait()
	})
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		b.Fatal(err)
	}
	var at struct{ Leat string }
	if err := json.Unmarshal(line, &at); err != nil {
		b.Fatal(err)
	}
	return at.Leat
}

// benchTrips makes round trips one after the other, then from 64 goroutines at once.
func benchTrips(b *testing.B, trip func() error) {
	b.Run("one", func(b *testing.B) {
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
