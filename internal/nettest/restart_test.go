package nettest

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestPoliteRestarts: SIGTERM and a new start, again and again, under 20,000 messages per second with three
// members of a group. No client sees an error, and what comes out is what went in, once each.
func TestPoliteRestarts(t *testing.T) {
	restarts := pick(4, 20)
	s := newServer(t)
	const topic, rate = "restarts", 20_000
	patient := leat.WithUnreachableAfter(time.Minute) // a restart takes as long as the machine is busy
	admin := s.dial(patient)
	createTopic(t, admin, topic, 6)
	out := &output{seen: map[uint64]int{}}
	var members []*leat.Subscription
	var reading sync.WaitGroup
	for range 3 {
		sub, err := s.dial(patient).Subscribe(topic, leat.Group("g"), leat.AutoAck())
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, sub)
		reading.Go(func() { out.read(t, sub) })
	}
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	var published atomic.Uint64
	publisher := s.dial(patient)
	publishing.Go(func() { published.Store(publishAtRate(t, publisher, topic, rate, stop)) })
	for range restarts {
		<-time.After(pick(500*time.Millisecond, time.Second))
		s.terminate()
		s.start()
	}
	<-time.After(time.Second)
	close(stop)
	publishing.Wait()
	out.await(t, published.Load())
	for _, sub := range members {
		if err := sub.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	reading.Wait()
	out.check(t, published.Load())
	t.Logf("%d restarts, %d messages, longest time without a message %v", restarts, published.Load(), out.gap)
}

// publishAtRate publishes until stop is closed and everything is acknowledged.
func publishAtRate(t *testing.T, bus *leat.Bus, topic string, rate int, stop <-chan struct{}) uint64 {
	p, err := bus.Producer(topic)
	if err != nil {
		t.Error(err)
		return 0
	}
	var id uint64
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			if err := p.Flush(soon(t, time.Minute)); err != nil {
				t.Errorf("Flush: %v", err)
			}
			return id
		case <-ticker.C:
		}
		for range rate / 200 {
			n := id
			id++
			p.PublishAsync(message(n), func(_ leat.Receipt, err error) {
				if err != nil {
					t.Errorf("message %d: %v", n, err)
				}
			})
		}
	}
}

// output is what came out of a group.
type output struct {
	mu   sync.Mutex
	seen map[uint64]int // how often, by id
	last time.Time
	gap  time.Duration
}

func (o *output) read(t *testing.T, sub *leat.Subscription) {
	for m, err := range sub.Messages(t.Context()) {
		if err != nil {
			t.Errorf("member: %v", err)
			return
		}
		o.add(binary.LittleEndian.Uint64(m.Value))
	}
}

func (o *output) add(id uint64) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[id]++
	if !o.last.IsZero() {
		o.gap = max(o.gap, now.Sub(o.last))
	}
	o.last = now
}

func (o *output) distinct() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return uint64(len(o.seen))
}

// await waits until n different messages came.
func (o *output) await(t *testing.T, n uint64) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	ctx := soon(t, time.Minute)
	for o.distinct() < n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d messages came out", o.distinct(), n)
		}
	}
}

func (o *output) check(t *testing.T, published uint64) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	lost, twice := 0, 0
	for id := range published {
		switch n := o.seen[id]; {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	if lost+twice > 0 || uint64(len(o.seen)) != published {
		t.Errorf("of %d messages %d were lost, %d came more than once; %d are strange", published, lost, twice,
			uint64(len(o.seen)+lost)-published)
	}
}
