package node

import (
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
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
	reportLate(b, late)
}

func reportLate(b *testing.B, late []time.Duration) {
	slices.Sort(late)
	if late[0] < 0 {
		b.Errorf("a message came %v early", -late[0])
	}
	b.ReportMetric(late[len(late)/2].Seconds()*1e3, "late-p50-ms")
	b.ReportMetric(late[len(late)*99/100].Seconds()*1e3, "late-p99-ms")
}

// BenchmarkDelayIdle delivers one message at a time, 5 to 6 ms after it was published, and tells how late a
// subscription that waits has it. Beside it stands the floor: how late the thread is that sleeps as long.
func BenchmarkDelayIdle(b *testing.B) {
	bed := one(b, leat.TopicConfig{Ack: leat.AckPage})
	p := bed.producer("t")
	sub := bed.subscribe("t", leat.From(leat.Earliest))
	late, floor := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	ahead := func() time.Duration { // of all phases of a millisecond alike
		return 5*time.Millisecond + time.Duration(len(late)*617%1000)*time.Microsecond
	}
	due := time.Now().Add(ahead())
	publish(b, p, leat.Message{DeliverAt: due})
	b.ResetTimer()
	for _, err := range sub.Messages(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if late = append(late, time.Since(due)); len(late) == b.N {
			break
		}
		due = time.Now().Add(ahead())
		if clock.Nap(clock.System, time.Until(due)) {
			floor = append(floor, time.Since(due))
		}
		due = time.Now().Add(ahead())
		publish(b, p, leat.Message{DeliverAt: due})
	}
	reportLate(b, late)
	if slices.Sort(floor); len(floor) > 0 {
		b.ReportMetric(floor[len(floor)*99/100].Seconds()*1e3, "floor-p99-ms")
	}
}

// BenchmarkDelayDeliver delivers messages of 128 bytes that are all due at once.
func BenchmarkDelayDeliver(b *testing.B) {
	bed := one(b, leat.TopicConfig{Ack: leat.AckPage})
	p := bed.producer("t")
	value := make([]byte, 128)
	due := time.Now().Add(time.Duration(b.N)*2*time.Microsecond + 100*time.Millisecond)
	for range b.N {
		p.PublishAsync(leat.Message{Value: value, DeliverAt: due}, nil)
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	sub := bed.subscribe("t", leat.From(leat.Earliest))
	<-time.After(time.Until(due))
	b.ResetTimer()
	got := 0
	for _, err := range sub.Messages(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if got++; got == b.N {
			break
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}
