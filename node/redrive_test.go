package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// newLetters has n records in partition 1 of two, all buried.
func newLetters(t testing.TB, n int, opts ...Option) *bed {
	t.Helper()
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}, opts...)
	b.fillDead(1, n)
	var all []int64
	for i := range n {
		all = append(all, int64(i))
	}
	b.mustBury(1, burials(all...))
	return b
}

func (b *bed) redrive(cfg leat.RedriveConfig) leat.DeadLetterProgress {
	b.t.Helper()
	done, err := b.Redrive(soon(b.t), "t.dlq.g", cfg)
	if err != nil {
		b.t.Fatalf("Redrive: %v", err)
	}
	return done
}

// again gives what partition 1 of "t" has behind the first n records.
func (b *bed) again(n int) []*leat.Message {
	b.t.Helper()
	end := b.partition(1).highWater.Load()
	sub := b.subscribe("t", leat.From(leat.Earliest))
	defer sub.Close()
	return take(b.t, sub, int(end))[n:]
}

// TestRedrive: letters come back to the partition they are from, as they were, and leave the dead letters.
func TestRedrive(t *testing.T) {
	b := newLetters(t, 9)
	var steps []leat.DeadLetterProgress
	done := b.redrive(leat.RedriveConfig{Filter: leat.DeadLetterFilter{Key: []byte("k1")},
		Progress: func(p leat.DeadLetterProgress) { steps = append(steps, p) }})
	if want := (leat.DeadLetterProgress{Pending: 9, Done: 3}); done != want || len(steps) != 1 ||
		steps[0] != want {
		t.Errorf("done %+v in steps %+v, want %+v", done, steps, want)
	}
	b.wantCounts("three of a key", 6, 3, 0)
	list := b.again(9)
	if got := values(list); got != "v1 v4 v7" {
		t.Errorf("they came back as %q", got)
	}
	for _, m := range list {
		if len(m.Headers) != 1 || m.Headers[0].Key != "n" || string(m.Key) != "k1" || m.Partition != 1 {
			t.Errorf("%+v came back", m)
		}
	}
	if done := b.redrive(leat.RedriveConfig{DryRun: true, Limit: 4}); done.Done != 4 {
		t.Errorf("a dry run says %+v", done)
	}
	b.wantCounts("a dry run", 6, 3, 0)
	b = b.reopen()
	if done := b.redrive(leat.RedriveConfig{Limit: 2}); done.Done != 2 || done.Pending != 6 {
		t.Errorf("two: %+v", done)
	}
	if got := values(b.again(12)); got != "v0 v2" {
		t.Errorf("two came back as %q", got)
	}
	dropped, err := b.DropDeadLetters(soon(t), "t.dlq.g", leat.DropConfig{
		Filter: leat.DeadLetterFilter{Headers: []leat.Header{{Key: "n", Value: []byte("6")}}}})
	if err != nil || dropped.Done != 1 {
		t.Errorf("drop: %+v, %v", dropped, err)
	}
	b.wantCounts("one is dropped", 3, 5, 1)
	b.redrive(leat.RedriveConfig{})
	b.wantCounts("the rest", 0, 8, 1)
	if got := values(b.again(14)); got != "v3 v5 v8" {
		t.Errorf("the rest came back as %q", got)
	}
}

// TestRedriveElsewhere: to another topic letters go by key; what that refuses stays, and is counted.
func TestRedriveElsewhere(t *testing.T) {
	b := newLetters(t, 4)
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	publish(t, p, leat.Message{Partition: 1, Value: make([]byte, 5000)})
	b.mustBury(1, burials(4))
	if err := b.CreateTopic(soon(t), "small", leat.TopicConfig{MaxRecordBytes: 1000}); err != nil {
		t.Fatal(err)
	}
	done := b.redrive(leat.RedriveConfig{To: "small"})
	if done.Done != 4 || done.Failed != 1 {
		t.Errorf("done %+v", done)
	}
	wantError(t, "the first failure", done.FirstFailure, leat.ErrRecordTooLarge)
	b.wantCounts("one is too large", 1, 4, 0)
	sub := b.subscribe("small", leat.From(leat.Earliest))
	if got := values(take(t, sub, 4)); got != "v0 v1 v2 v3" {
		t.Errorf("small has %q", got)
	}
	for _, tt := range []struct {
		what string
		name string
		cfg  leat.RedriveConfig
		want error
	}{
		{"nowhere", "t.dlq.g", leat.RedriveConfig{To: "nope"}, leat.ErrTopicNotFound},
		{"itself", "t.dlq.g", leat.RedriveConfig{To: "t.dlq.g"}, leat.ErrInvalidConfig},
		{"a negative rate", "t.dlq.g", leat.RedriveConfig{Rate: -1}, leat.ErrInvalidConfig},
		{"a negative limit", "t.dlq.g", leat.RedriveConfig{Limit: -1}, leat.ErrInvalidConfig},
		{"no letters", "t.dlq.h", leat.RedriveConfig{}, leat.ErrTopicNotFound},
		{"no such topic of letters", "t", leat.RedriveConfig{}, leat.ErrTopicNotFound},
	} {
		_, err := b.Redrive(soon(t), tt.name, tt.cfg)
		wantError(t, tt.what, err, tt.want)
	}
	if err := b.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	_, err := b.Redrive(soon(t), "t.dlq.g", leat.RedriveConfig{})
	wantError(t, "the topic is gone", err, leat.ErrTopicNotFound)
	b.wantCounts("and nothing is lost", 1, 4, 0)
	if err := b.CreateTopic(soon(t), "t", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	b.redrive(leat.RedriveConfig{}) // partition 1 is not there any more
	b.wantCounts("made anew", 0, 5, 0)
}

// TestRedriveStrangers: what somebody else published to the dead letters goes to the topic of their name.
func TestRedriveStrangers(t *testing.T) {
	b := newLetters(t, 1)
	publish(t, b.producer("t.dlq.g"), keyed("k", "stranger"))
	b.wantCounts("with a stranger", 2, 0, 0)
	if got := b.redrive(leat.RedriveConfig{}); got.Done != 2 {
		t.Errorf("done %+v", got)
	}
	b.wantCounts("redriven", 0, 2, 0)
}

// TestRedriveIsResumed: a job that is stopped in the middle leaves what it has not done to the next, and what
// it did is not done again.
func TestRedriveIsResumed(t *testing.T) {
	b := newLetters(t, 20)
	ctx, cancel := context.WithCancel(context.Background())
	done, err := b.Redrive(ctx, "t.dlq.g", leat.RedriveConfig{Rate: 1000,
		Progress: func(p leat.DeadLetterProgress) {
			if p.Done >= 5 {
				cancel()
			}
		}})
	if !errors.Is(err, context.Canceled) && err != nil {
		t.Fatal(err)
	}
	if done.Done < 5 {
		t.Fatalf("done %+v", done)
	}
	b.wantCounts("stopped", 20-done.Done, done.Done, 0)
	b = b.reopen()
	b.wantCounts("after a restart", 20-done.Done, done.Done, 0)
	b.redrive(leat.RedriveConfig{})
	b.wantCounts("resumed", 0, 20, 0)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("v", i))
	}
	if got := values(b.again(20)); got != strings.Join(want, " ") {
		t.Errorf("they came back as %q", got)
	}
}

// TestRedriveRate: letters go as fast as they may, no faster.
func TestRedriveRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLetters(t, 30)
		begin := time.Now()
		var at []time.Duration
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := b.Redrive(ctx, "t.dlq.g", leat.RedriveConfig{Rate: 10, Progress: func(p leat.DeadLetterProgress) {
			at = append(at, time.Since(begin))
			if most := 1.5 + 10*time.Since(begin).Seconds(); float64(p.Done) > most {
				t.Errorf("%d letters after %v", p.Done, time.Since(begin))
			}
		}})
		if took := time.Since(begin); err != nil || took < 2900*time.Millisecond || took > 4*time.Second {
			t.Errorf("30 letters at 10 a second took %v: %v", took, err)
		}
		b.close()
	})
}

// TestRedriveAlone: while a job works on letters another one is refused, until the first is silent for long.
func TestRedriveAlone(t *testing.T) {
	b := newLetters(t, 5)
	var second error
	b.redrive(leat.RedriveConfig{Progress: func(leat.DeadLetterProgress) {
		if second == nil {
			_, second = b.DropDeadLetters(soon(t), "t.dlq.g", leat.DropConfig{})
		}
	}})
	wantError(t, "a second job", second, leat.ErrRedriving)
	b.wantCounts("only the first", 0, 5, 0)
	synctest.Test(t, func(t *testing.T) {
		b := newLetters(t, 1)
		first := leat.DeadLetterRead{Partition: 1, Job: 9}
		if _, err := b.ReadDeadLetters(t.Context(), "t.dlq.g", first); err != nil {
			t.Fatal(err) // and is never heard of again
		}
		pass(time.Duration(jobSilence) - 1)
		_, err := b.Redrive(t.Context(), "t.dlq.g", leat.RedriveConfig{})
		wantError(t, "before the silence is long", err, leat.ErrRedriving)
		pass(1)
		if done, err := b.Redrive(t.Context(), "t.dlq.g", leat.RedriveConfig{}); err != nil || done.Done != 1 {
			t.Errorf("after the silence: %+v, %v", done, err)
		}
		b.close()
	})
}

// conservation checks produced = done + dead + pending for a group: of the records published to a partition,
// each was acknowledged by it, or is or was among its dead letters, or is still to be delivered.
func conservation(produced, acked, undelivered int64, dead [3]int64) error {
	if sum := acked + undelivered + dead[0] + dead[1] + dead[2]; sum != produced {
		return core.Errorf(core.CodeInternal, "count", "%d produced, but %d acknowledged, %d to come, %d pending "+
			"dead letters, %d redriven and %d dropped make %d", produced, acked, undelivered,
			dead[0], dead[1], dead[2], sum)
	}
	return nil
}

// TestConservation: what is produced is done, dead or pending through burials, redriving, dropping and power
// cuts. A record that is settled without being buried, and one buried twice, do not pass.
func TestConservation(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2})
	const first = 20
	b.fillDead(1, first)
	var acked, produced int64 = 0, first
	at := int64(0)
	handle := func(upTo int64, fails func(int64) bool) {
		for ; at < upTo; at++ {
			if fails(at) {
				b.mustBury(1, burials(at))
			} else {
				acked++
			}
		}
	}
	check := func(what string) {
		t.Helper()
		if err := conservation(produced, acked, produced-at, b.counts()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("nothing handled")
	handle(15, func(at int64) bool { return at%2 == 0 })
	check("half of them dead")
	produced += b.redrive(leat.RedriveConfig{Limit: 3}).Done // they are produced once more
	check("some redriven")
	if _, err := b.DropDeadLetters(soon(t), "t.dlq.g", leat.DropConfig{Limit: 2}); err != nil {
		t.Fatal(err)
	}
	after := b.fs.Crash(5)
	b.close()
	b = openBed(t, after)
	check("after a power cut")
	handle(produced, func(at int64) bool { return at >= first })
	check("all handled, what came back failed again")
	produced += b.redrive(leat.RedriveConfig{}).Done
	handle(produced, func(int64) bool { return false })
	check("all done")
	if err := conservation(produced, acked, 0, b.counts()); err != nil {
		t.Errorf("at the end: %v", err)
	}
	// The planted mistakes.
	b.fillDead(1, 2)
	produced += 2
	at++ // settled, never buried
	if conservation(produced, acked, produced-at, b.counts()) == nil {
		t.Error("a record that was lost passes")
	}
	b.mustBury(1, burials(at-1))
	check("mended")
	grave := b.node.topicNamed("t.dlq.g").partitions[1]
	b.node.letters.box(letterKey{grave.topic.id, 1}).recent = recentLetters{read: true} // forgets what is there
	b.mustBury(1, burials(at-1))
	if conservation(produced, acked, produced-at, b.counts()) == nil {
		t.Error("a record that was buried twice passes")
	}
}

// BenchmarkRedrive redrives 100,000 dead letters in one process.
func BenchmarkRedrive(b *testing.B) {
	const letters = 100_000
	for b.Loop() {
		b.StopTimer()
		bus := openBus(b, b.TempDir(), WithTopic("t", leat.TopicConfig{Partitions: 4}))
		n := bus.Backend().(*Node)
		source := &bed{Bus: bus, t: b, node: n}
		p := source.producer("t")
		value := make([]byte, 1024)
		for i := range letters {
			p.PublishAsync(leat.Message{Key: fmt.Append(nil, i), Value: value}, nil)
		}
		if err := p.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		for _, part := range n.topicNamed("t").partitions {
			var all []int64
			for at := range part.highWater.Load() {
				all = append(all, at)
			}
			n.bury(b.Context(), "g", part, burials(all...), func(_ int, err error) {
				if err != nil {
					b.Error(err)
				}
			})
		}
		b.StartTimer()
		done, err := bus.Redrive(b.Context(), "t.dlq.g", leat.RedriveConfig{})
		if err != nil || done.Done != letters {
			b.Fatalf("Redrive: %+v, %v", done, err)
		}
		b.StopTimer()
		if err := bus.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(letters*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}
