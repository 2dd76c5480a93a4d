package node

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
)

// simClient runs f with a node and a client of it on a simulated network, in virtual time.
func simClient(t *testing.T, cfg leat.TopicConfig, f func(s *simServer, bus *leat.Bus)) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		network := newSimNetwork(1)
		network.latency = 5 * time.Millisecond
		s := newSimServer(t, network, WithTopic("t", cfg))
		bus := s.dial(2)
		f(s, bus)
		if err := bus.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		s.stop()
	})
}

func simSubscribe(t *testing.T, bus *leat.Bus, options ...leat.SubscribeOption) *leat.Subscription {
	t.Helper()
	sub, err := bus.Subscribe("t", options...)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return sub
}

// TestSimReadAt: a remote subscription sees what is not synced yet if it asks for that, and only then.
func TestSimReadAt(t *testing.T) {
	simClient(t, leat.TopicConfig{Ack: leat.AckDisk}, func(s *simServer, bus *leat.Bus) {
		p := openProducer(t, bus, "t")
		publish(t, p, text("warm"))
		early, late := simSubscribe(t, bus, leat.ReadAt(leat.AckPage)), simSubscribe(t, bus)
		hung, release := s.now().fs.HangNextSync()
		p.PublishAsync(text("v"), nil)
		receive(t, "sync", hung)
		if got := values(take(t, early, 1)); got != "v" {
			t.Errorf("read %q at page", got)
		}
		got := make(chan string, 1)
		go func() { got <- values(take(t, late, 1)) }()
		pass(time.Second)
		select {
		case v := <-got:
			t.Errorf("the default showed %q before its sync", v)
		default:
		}
		release()
		if v := receive(t, "message", got); v != "v" {
			t.Errorf("read %q after the sync", v)
		}
	})
}

// TestSimReadAtDisk: on a topic at page, ReadAt(AckDisk) shows only what is synced.
func TestSimReadAtDisk(t *testing.T) {
	simClient(t, leat.TopicConfig{Ack: leat.AckPage}, func(s *simServer, bus *leat.Bus) {
		p := openProducer(t, bus, "t")
		publish(t, p, text("warm"))
		sub := simSubscribe(t, bus, leat.ReadAt(leat.AckDisk), leat.From(leat.Earliest))
		take(t, sub, 1)
		hung, release := s.now().fs.HangNextSync()
		publish(t, p, text("v"))
		receive(t, "sync", hung)
		got := make(chan string, 1)
		go func() { got <- values(take(t, sub, 1)) }()
		pass(time.Second)
		select {
		case v := <-got:
			t.Errorf("showed %q before its sync", v)
		default:
		}
		release()
		if v := receive(t, "message", got); v != "v" {
			t.Errorf("read %q after the sync", v)
		}
	})
}

// TestSimAtTime: a remote subscription begins with the first record that is not older than a time.
func TestSimAtTime(t *testing.T) {
	simClient(t, leat.TopicConfig{Ack: leat.AckPage}, func(_ *simServer, bus *leat.Bus) {
		p := openProducer(t, bus, "t")
		var times []time.Time
		for i := range 5 {
			times = append(times, publish(t, p, text(fmt.Sprint(i))).Time)
			pass(time.Second)
		}
		tests := []struct {
			name string
			at   time.Time
			want string
		}{
			{"long ago", time.Unix(0, 0), "0"},
			{"exact", times[2], "2"},
			{"just behind", times[2].Add(1), "3"},
			{"just before", times[4].Add(-1), "4"},
			{"in the future", times[4].Add(time.Hour), "5"},
		}
		var subs []*leat.Subscription
		for _, tt := range tests {
			subs = append(subs, simSubscribe(t, bus, leat.From(leat.AtTime(tt.at))))
		}
		publish(t, p, text("5"))
		for i, tt := range tests {
			if got := values(take(t, subs[i], 1)); got != tt.want {
				t.Errorf("%s: begins at %s, want %s", tt.name, got, tt.want)
			}
		}
	})
}

// TestSimFairness: one partition has a backlog that takes long to read; what is published to the others
// meanwhile comes all the same, and soon.
func TestSimFairness(t *testing.T) {
	const backlog = 20_000
	simClient(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}, func(s *simServer, bus *leat.Bus) {
		local := s.now().producer("t", leat.WithPartitioner(leat.Manual))
		for i := range backlog {
			local.PublishAsync(leat.Message{Partition: 0, Value: fmt.Appendf(nil, "%d%1000d", i, 0)}, nil)
		}
		if err := local.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
		sub := simSubscribe(t, bus, leat.From(leat.Earliest))
		p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
		sent := map[int32]time.Time{}
		old, fresh, worst := 0, 0, time.Duration(0)
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Partition == 0 {
				old++
				pass(100 * time.Microsecond) // work
			} else {
				fresh++
				worst = max(worst, time.Since(sent[m.Partition]))
				delete(sent, m.Partition)
			}
			if n := int32(1 + old%3); m.Partition == 0 && old%500 == 0 && sent[n].IsZero() {
				sent[n] = time.Now()
				p.PublishAsync(leat.Message{Partition: n, Value: []byte("fresh")}, nil)
			}
			if old == backlog && len(sent) == 0 {
				break
			}
		}
		if fresh < backlog/1000 || worst > 250*time.Millisecond {
			t.Errorf("%d new ones while %d old ones were read, the latest after %v", fresh, old, worst)
		}
	})
}

// TestSimActor: an actor that is fed over the network tries a message that fails again; its partition waits
// meanwhile, more than once around, and the others go on.
func TestSimActor(t *testing.T) {
	const each = 200
	simClient(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}, func(_ *simServer, bus *leat.Bus) {
		var mu sync.Mutex
		var got [2][]string
		tries := 0
		props := actors.PropsFromFunc(func(c actors.Context) {
			m, ok := c.Message().(*leat.Message)
			if !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if m.Partition == 0 && m.Offset == 0 {
				if tries++; tries < 4 {
					panic("not yet")
				}
				if n := len(got[1]); n != each {
					t.Errorf("the other partition was given %d meanwhile, want %d", n, each)
				}
			}
			got[m.Partition] = append(got[m.Partition], string(m.Value))
		})
		if _, err := actors.Spawn(bus, props, actors.On("t", leat.Group("g"))); err != nil {
			t.Fatal(err)
		}
		p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
		for i := range each {
			for n := range int32(2) {
				p.PublishAsync(leat.Message{Partition: n, Value: fmt.Append(nil, i)}, nil)
			}
		}
		if err := p.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all came", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got[0]) >= each && len(got[1]) >= each
		})
		mu.Lock()
		defer mu.Unlock()
		for n := range got {
			for i, v := range got[n] {
				if v != fmt.Sprint(i) {
					t.Fatalf("partition %d: message %d is %s", n, i, v)
				}
			}
		}
	})
}
