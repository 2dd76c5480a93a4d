package leat_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
)

// values reads for a minute, and gives what came; of the snapshot with a star.
func (b *replayBed) values(sub *leat.Subscription, n int) (list []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			b.t.Fatal(err)
		}
		value := string(m.Value)
		if m.Snapshot {
			value += "*"
		}
		if list = append(list, value); len(list) == n {
			break
		}
	}
	return list
}

func (b *replayBed) put(m leat.Message) {
	b.t.Helper()
	if _, err := b.p.Publish(b.t.Context(), m); err != nil {
		b.t.Fatal(err)
	}
}

// TestSnapshotLosesNothing: what is published while the snapshot is made comes when it is done, also to a
// partition whose messages of the snapshot have gone meanwhile, and to one that had none.
func TestSnapshotLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 3)
		b.expire(1, 1) // the first reading looks for what it is not given, for longer than the next one lives
		b.put(leat.Message{Key: []byte("a"), Value: []byte("old"), TTL: 50 * time.Millisecond})
		done := 0
		sub := b.subscribe(leat.LastPerKey(leat.LastPerKeyConfig{Done: func() { done++ }}))
		for _, m := range []leat.Message{
			{Key: []byte("a"), Value: []byte("0 new")}, {Partition: 0, Value: []byte("0 more")},
			{Partition: 2, Value: []byte("2 new")}, {Partition: 2, Value: []byte("2 more")},
		} {
			b.put(m)
		}
		got := b.values(sub, 4)
		if order := slices.DeleteFunc(slices.Clone(got), func(v string) bool { return v[0] != '0' }); !slices.Equal(
			order, []string{"0 new", "0 more"}) {
			t.Errorf("of partition 0 comes %q, of all %q", order, got)
		}
		if order := slices.DeleteFunc(got, func(v string) bool { return v[0] != '2' }); !slices.Equal(order,
			[]string{"2 new", "2 more"}) {
			t.Errorf("of partition 2 comes %q", order)
		}
		b.put(leat.Message{Partition: 1, Value: []byte("1")})
		if got := b.values(sub, 1); !slices.Equal(got, []string{"1"}) || done != 1 {
			t.Errorf("then comes %q; the end was told %d times", got, done)
		}
	})
}

// TestSnapshotBeforeExpired: a snapshot ends where many messages at the end of the log have expired.
func TestSnapshotBeforeExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 1)
		b.put(leat.Message{Key: []byte("a"), Value: []byte("1")})
		b.expire(0, 10)
		b.bus = leat.NewBus(shortPeeks{b.bus.Backend()})
		sub := b.subscribe(leat.LastPerKey())
		b.put(leat.Message{Key: []byte("b"), Value: []byte("2")})
		b.expire(0, 10)
		if got := b.values(sub, 2); !slices.Equal(got, []string{"1*", "2"}) {
			t.Errorf("comes %q", got)
		}
		bare := b.subscribe(leat.LastPerKey(leat.LastPerKeyConfig{Done: func() {
			b.put(leat.Message{
				Value: []byte("3")})
		}}))
		if got := b.values(bare, 3); !slices.Equal(got, []string{"1*", "2*", "3"}) {
			t.Errorf("comes %q", got)
		}
	})
}

// failsOnce refuses the second subscription.
type failsOnce struct {
	leat.Backend
	opened *int
}

func (f failsOnce) OpenSubscription(topic string, o leat.SubscribeOptions) (leat.SubscriptionBackend, error) {
	if *f.opened++; *f.opened == 2 {
		return nil, leat.ErrUnavailable
	}
	return f.Backend.OpenSubscription(topic, o)
}

// TestSnapshotGoesOn: where the second reading cannot begin, the loop that comes next begins it.
func TestSnapshotGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newReplayBed(t, 1)
		b.put(leat.Message{Key: []byte("a"), Value: []byte("1")})
		b.bus = leat.NewBus(failsOnce{b.bus.Backend(), new(int)})
		sub := b.subscribe(leat.LastPerKey())
		for m, err := range sub.Messages(t.Context()) {
			if !errors.Is(err, leat.ErrUnavailable) {
				t.Errorf("comes %v, %v", m, err)
			}
		}
		b.put(leat.Message{Value: []byte("2")})
		if got := b.values(sub, 2); !slices.Equal(got, []string{"1*", "2"}) {
			t.Errorf("then comes %q", got)
		}
	})
}
