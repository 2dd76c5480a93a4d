package leattest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/leattest"
)

// pass lets virtual time pass, and everything that happens meanwhile.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func publish(t *testing.T, bus *leat.Bus, topic, value string) leat.Receipt {
	t.Helper()
	p, err := bus.Producer(topic)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Publish(t.Context(), leat.Message{Value: []byte(value)})
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	return r
}

// follow reads on a goroutine; what it read is handed to each.
func follow(t *testing.T, sub *leat.Subscription, each func(*leat.Message)) {
	t.Helper()
	go func() {
		for m, err := range sub.Messages(t.Context()) {
			if err == nil {
				each(m)
			}
		}
	}()
}

func subscribe(t *testing.T, bus *leat.Bus, options ...leat.SubscribeOption) *leat.Subscription {
	t.Helper()
	sub, err := bus.Subscribe("t", options...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestNothingOnDisk: the folder of the test stays as it is, and two buses have nothing in common.
func TestNothingOnDisk(t *testing.T) {
	t.Chdir(t.TempDir())
	for range 2 {
		bus := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{Partitions: 3}))
		if r := publish(t, bus, "t", "v"); r.Offset != 0 {
			t.Errorf("offset %d in a new bus", r.Offset)
		}
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("files %v, %v", files, err)
	}
}

// recorder is a test that keeps what it was told instead of failing.
type recorder struct {
	testing.TB
	cleanups []func()
	said     string
}

func (r *recorder) Cleanup(f func())             { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatalf(f string, args ...any) { r.said = fmt.Sprintf(f, args...); panic(r) }

// TestNewFailsTheTest: with the error and its hint.
func TestNewFailsTheTest(t *testing.T) {
	r := &recorder{TB: t}
	func() {
		defer func() { _ = recover() }()
		leattest.New(r, leattest.WithTopic("t", leat.TopicConfig{Partitions: -1}))
	}()
	if !strings.Contains(r.said, "Partitions -1: want 1 to 16384") || !strings.Contains(r.said, "hint: ") {
		t.Errorf("New said %q", r.said)
	}
	if len(r.cleanups) > 0 {
		t.Error("New closes a bus that it did not open")
	}
}

// TestClosesItself: whoever waits is let go when the test ends.
func TestClosesItself(t *testing.T) {
	var bus *leat.Bus
	t.Run("inner", func(t *testing.T) {
		bus = leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{}))
		select {
		case <-bus.Done():
			t.Error("closed while the test runs")
		default:
		}
	})
	select {
	case <-bus.Done():
	default:
		t.Error("open after the test")
	}
	if _, err := bus.Producer("t"); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Producer after the test: %v", err)
	}
}

// TestFortyDays: virtual time drives the time of messages, whatever the bus has open meanwhile, and takes
// almost none of the real one.
func TestFortyDays(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		bus := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
		var got []time.Time
		follow(t, subscribe(t, bus, leat.From(leat.Earliest)), func(m *leat.Message) { got = append(got, m.Time) })
		start := time.Now()
		for range 41 {
			publish(t, bus, "t", "tick")
			pass(24 * time.Hour)
		}
		if len(got) != 41 {
			t.Fatalf("%d messages, want 41", len(got))
		}
		for i, at := range got {
			if want := start.Add(time.Duration(i) * 24 * time.Hour); at.Sub(want).Abs() > time.Millisecond {
				t.Errorf("message %d has the time %v, want %v", i, at.UTC(), want.UTC())
			}
		}
		sub := subscribe(t, bus, leat.From(leat.AtTime(start.Add(30*24*time.Hour))))
		for m, err := range sub.Messages(t.Context()) {
			if err != nil || m.Offset != 30 {
				t.Errorf("the first message of day 30: %+v, %v", m, err)
			}
			break
		}
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("forty days took %v", took)
	}
}

// TestGroupSession: a member that holds a message may keep its partition for a session of ten seconds.
func TestGroupSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{Partitions: 2}))
		p, err := bus.Producer("t", leat.WithPartitioner(leat.Manual))
		if err != nil {
			t.Fatal(err)
		}
		for partition := range int32(2) {
			if _, err := p.Publish(t.Context(), leat.Message{Partition: partition}); err != nil {
				t.Fatal(err)
			}
		}
		stuck, hold := make(chan error, 1), make(chan struct{})
		follow(t, subscribe(t, bus, leat.Group("g")), func(m *leat.Message) {
			if m.Partition == 1 { // the one that a second member gets
				<-hold
				stuck <- m.Ack()
			}
		})
		pass(time.Hour) // alone it may take its time
		joined := time.Now()
		moved := make(chan time.Time, 1)
		follow(t, subscribe(t, bus, leat.Group("g")), func(m *leat.Message) {
			if m.Partition == 1 {
				moved <- time.Now()
			}
			if err := m.Ack(); err != nil {
				t.Errorf("Ack: %v", err)
			}
		})
		pass(9 * time.Second)
		if len(moved) > 0 {
			t.Fatalf("the message moved after %v, want ten seconds", (<-moved).Sub(joined))
		}
		pass(2 * time.Second)
		if took := (<-moved).Sub(joined); took < 10*time.Second || took > 10*time.Second+100*time.Millisecond {
			t.Errorf("the message moved after %v, want ten seconds", took)
		}
		close(hold)
		if err := <-stuck; !errors.Is(err, leat.ErrFenced) {
			t.Errorf("Ack of the member that was stuck: %v", err)
		}
	})
}

// TestAcksFold: an ack is committed 50 ms later, in virtual time.
func TestAcksFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{}))
		follow(t, subscribe(t, bus, leat.Group("g")), func(m *leat.Message) { _ = m.Ack() })
		pass(time.Minute)
		publish(t, bus, "t", "v")
		committed := func() int64 {
			groups, err := bus.Groups(t.Context())
			if err != nil || len(groups) != 1 {
				t.Fatalf("groups %+v, %v", groups, err)
			}
			return groups[0].Partitions[0].Committed
		}
		pass(49 * time.Millisecond)
		if c := committed(); c > 0 {
			t.Errorf("committed %d before the fold", c)
		}
		pass(2 * time.Millisecond)
		if c := committed(); c != 1 {
			t.Errorf("committed %d after the fold", c)
		}
	})
}

// TestIdleDayWithMembers: what a group says to stay alive is cheap.
func TestIdleDayWithMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("28,800 heartbeats for each of three members")
	}
	synctest.Test(t, func(t *testing.T) {
		bus := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{Partitions: 6}))
		for range 3 {
			follow(t, subscribe(t, bus, leat.Group("g")), func(*leat.Message) {})
		}
		pass(24 * time.Hour)
		groups, err := bus.Groups(context.Background())
		if err != nil || len(groups) != 1 || len(groups[0].Members) != 3 {
			t.Errorf("groups %+v, %v", groups, err)
		}
	})
}
