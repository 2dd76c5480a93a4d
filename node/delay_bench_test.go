package node

import (
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// BenchmarkDelayCancel cancels messages, durably at page.
func BenchmarkDelayCancel(b *testing.B) {
	bed := one(b, leat.TopicConfig{Ack: leat.AckPage})
	p := bed.producer("t")
	var handles []string
	for range b.N {
		handles = append(handles, publish(b, p, leat.Message{Delay: time.Hour}).Handle)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, handle := range handles {
		if outcome, err := bed.CancelDelayed(b.Context(), handle); outcome != leat.DelayCancelled ||
			err != nil {
			b.Fatalf("CancelDelayed = %v, %v", outcome, err)
		}
	}
}

// BenchmarkDelayLate delivers messages of 128 bytes, 50,000 of which are due in a second.
func BenchmarkDelayLate(b *testing.B) {
	bed := one(b, leat.TopicConfig{Ack: leat.AckPage})
	p := bed.producer("t")
	value := make([]byte, 128)
	began := time.Now().Add(time.Second)
	for i := range b.N {
		p.PublishAsync(leat.Message{Value: value,
			DeliverAt: began.Add(time.Duration(i) * 20 * time.Microsecond)}, nil)
	}
	b.ResetTimer()
	late := make([]time.Duration, 0, b.N)
	for m, err := range bed.subscribe("t", leat.From(leat.Earliest)).Messages(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		late = append(late, m.Time.Sub(began.Add(time.Duration(len(late))*20*time.Microsecond)))
		if len(late) == b.N {
			break
		}
	}
	slices.Sort(late)
	b.ReportMetric(late[len(late)/2].Seconds()*1e3, "late-p50-ms")
	b.ReportMetric(late[len(late)*99/100].Seconds()*1e3, "late-p99-ms")
}
