package node

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat"
)

// BenchmarkFilter reads a topic of messages with 64 bytes and one header, without a filter and with one that
// lets 1 % through. Figures are of messages looked at.
func BenchmarkFilter(b *testing.B) {
	const n = 200_000
	bed := one(b, leat.TopicConfig{Ack: leat.AckPage})
	p := bed.producer("t")
	value := make([]byte, 64)
	for i := range n {
		p.PublishAsync(leat.Message{Value: value, Headers: []leat.Header{{Key: "n", Value: fmt.Append(nil,
			i%100)}}}, nil)
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		filter string
		passes int
	}{{"none", "", n}, {"all", `header("n") != "x"`, n}, {"1%", `header("n") == "7"`, n / 100},
		{"1% of numbers", `int(header("n")) == 7`, n / 100}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sub := bed.subscribe("t", leat.From(leat.Earliest), leat.Filter(tt.filter))
				got := 0
				for _, err := range sub.Messages(b.Context()) {
					if err != nil {
						b.Fatal(err)
					}
					if got++; got == tt.passes {
						break
					}
				}
				if err := sub.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds()/1e6, "Mmsg/s")
		})
	}
}
