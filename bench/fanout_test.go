package bench

import (
	"fmt"
	"testing"
)

func TestChannelFanOutDeliversAll(t *testing.T) {
	if err := channelFanOut(3, 5000); err != nil {
		t.Error(err)
	}
}

func TestBusFanOutDeliversAll(t *testing.T) {
	f, err := openBusFanOut(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.run(5000); err != nil {
			t.Error(err)
		}
	}
	if got := f.slowest(); got != 10_000 {
		t.Errorf("the slowest subscriber read %d messages; want 10,000", got)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("channel/receivers=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			if err := channelFanOut(n, b.N); err != nil {
				b.Error(err)
			}
			report(b)
		})
		b.Run(fmt.Sprintf("bus-page/subscribers=%d", n), func(b *testing.B) {
			f, err := openBusFanOut(b.TempDir(), n)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := f.run(b.N); err != nil {
				b.Error(err)
			}
			b.StopTimer()
			report(b)
			if err := f.close(); err != nil {
				b.Error(err)
			}
		})
	}
}

func report(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	b.SetBytes(valueBytes)
}
