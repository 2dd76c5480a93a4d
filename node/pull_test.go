package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
)

// pull takes what there is for group g of topic t.
func (b *bed) pull(cfg leat.PullConfig) []leat.Lent {
	b.t.Helper()
	list, err := b.Pull(soon(b.t), "t", "g", cfg)
	if err != nil {
		b.t.Fatalf("Pull(%+v): %v", cfg, err)
	}
	return list
}

// pulled fails unless exactly n messages are there to be pulled.
func (b *bed) pulled(n int, cfg leat.PullConfig) []leat.Lent {
	b.t.Helper()
	list := b.pull(cfg)
	if len(list) != n {
		b.t.Fatalf("Pull(%+v) gave %d messages, want %d", cfg, len(list), n)
	}
	return list
}

// answer says something of loans, and gives the error of each.
func (b *bed) answer(kind leat.AnswerKind, list ...leat.Lent) []error {
	b.t.Helper()
	return b.answers(leat.Answer{Kind: kind}, list...)
}

func (b *bed) answers(a leat.Answer, list ...leat.Lent) []error {
	b.t.Helper()
	var loans []leat.Loan
	for i := range list {
		loans = append(loans, list[i].Loan)
	}
	results, err := b.Answer(soon(b.t), "t", "g", a, loans)
	if err != nil || len(results) != len(list) {
		b.t.Fatalf("Answer(%+v, %d loans): %d results, %v", a, len(loans), len(results), err)
	}
	return results
}

// TestPull: what is pulled is answered by its loan alone, once, within the lease.
func TestPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		cfg := leat.PullConfig{Max: 2, Queue: leat.QueueConfig{Lease: 10 * time.Second,
			Retry: leat.Backoff{Min: time.Second, Max: time.Second}}}
		b.pulled(0, cfg)
		b.fill(5)
		first, second := b.pulled(2, cfg), b.pulled(2, cfg)
		wantAttempt(t, &first[0].Message, 0, 1)
		wantAttempt(t, &second[1].Message, 3, 1)
		if err := first[0].Ack(); err == nil {
			t.Error("Message.Ack of a loan does something")
		}
		mustDo(t, "ack", errors.Join(b.answer(leat.AnswerAck, first[0], second[1])...))
		wantStale(t, "a second ack", b.answer(leat.AnswerAck, first[0])[0])
		mustDo(t, "nack", b.answers(leat.Answer{Kind: leat.AnswerNack, Delay: 3 * time.Second}, second[0])[0])
		wantStale(t, "ack after nack", b.answer(leat.AnswerAck, second[0])[0])
		passAll(6 * time.Second)
		wantAttempt(t, &b.pulled(1, leat.PullConfig{Max: 1})[0].Message, 2, 2)
		mustDo(t, "extend", b.answer(leat.AnswerExtend, first[1])[0])
		passAll(6 * time.Second)
		mustDo(t, "ack of an extended lease", b.answer(leat.AnswerAck, first[1])[0])
		last := b.pulled(1, cfg)
		passAll(12 * time.Second)
		for kind := leat.AnswerAck; kind <= leat.AnswerExtend; kind++ {
			wantStale(t, kind.String()+" behind the lease", b.answer(kind, last[0])[0])
		}
		again := b.pulled(2, cfg)
		wantAttempt(t, &again[0].Message, 2, 3)
		wantAttempt(t, &again[1].Message, 4, 2)
		mustDo(t, "ack", errors.Join(b.answer(leat.AnswerAck, again...)...))
		b.pulled(0, cfg)
		if lag := b.queueLag(); lag != 0 {
			t.Errorf("lag %d", lag)
		}
	})
}

// TestPullReject: what is rejected is a dead letter, with its reason.
func TestPullReject(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(2)
	list := b.pulled(2, leat.PullConfig{})
	mustDo(t, "reject", b.answers(leat.Answer{Kind: leat.AnswerReject, Reason: "no good"}, list[0])[0])
	wantStale(t, "ack after reject", b.answer(leat.AnswerAck, list[0])[0])
	mustDo(t, "ack", b.answer(leat.AnswerAck, list[1])[0])
	eventually(t, "all is settled", func() bool { return b.queueLag() == 0 })
	letters := b.letters(0, leat.DeadLetterFilter{})
	if len(letters) != 1 || letters[0].Origin.Offset != 0 || letters[0].Origin.Reason != "no good" {
		t.Errorf("dead letters %+v", letters)
	}
}

// TestPullWaits: a pull waits for a first message, no longer than it says; others are served in turn.
func TestPullWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		cfg := leat.PullConfig{Max: 2, Wait: 5 * time.Second}
		began := time.Now()
		b.pulled(0, cfg)
		if took := time.Since(began); took != cfg.Wait {
			t.Errorf("it waited %v, want %v", took, cfg.Wait)
		}
		var turns []int64
		var mu sync.Mutex
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				list := b.pull(cfg)
				mu.Lock()
				defer mu.Unlock()
				for i := range list {
					turns = append(turns, list[i].Offset)
				}
			})
			synctest.Wait()
		}
		gone, leave := context.WithCancel(t.Context())
		waiting.Go(func() {
			if list, err := b.Pull(gone, "t", "g", cfg); len(list) > 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("a client that went: %d messages, %v", len(list), err)
			}
		})
		synctest.Wait()
		leave()
		for range 3 {
			b.fill(1)
			synctest.Wait()
		}
		waiting.Wait()
		if !slices.Equal(turns, []int64{0, 1, 2}) {
			t.Errorf("in turn came %v", turns)
		}
		if took := time.Since(began); took > cfg.Wait+4*time.Second {
			t.Errorf("messages that came were waited for: %v", took)
		}
		b.fill(1)
		wantAttempt(t, &b.pulled(1, cfg)[0].Message, 3, 1)
	})
}

// TestPullLeases: what is out stays out when nobody pulls any more; the group has a member until then, and
// for a minute after the last pull.
func TestPullLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		b.fill(1)
		list := b.pulled(1, leat.PullConfig{Queue: leat.QueueConfig{Lease: time.Hour}})
		passAll(59 * time.Minute)
		if members := b.group().Members; !slices.Equal(members, []string{"pull"}) {
			t.Errorf("members %v", members)
		}
		if err := b.ResetGroup(soon(t), "g", "t", leat.Earliest); !errors.Is(err, leat.ErrGroupActive) {
			t.Errorf("ResetGroup while a message is out: %v", err)
		}
		mustDo(t, "ack", b.answer(leat.AnswerAck, list[0])[0])
		passAll(time.Second)
		if members := b.group().Members; len(members) > 0 {
			t.Errorf("members %v, an hour after the last pull", members)
		}
		mustDo(t, "ResetGroup", b.ResetGroup(soon(t), "g", "t", leat.Earliest))
		list = b.pulled(1, leat.PullConfig{Mode: leat.GroupKeyShared})
		mustDo(t, "ack", b.answer(leat.AnswerAck, list[0])[0])
		passAll(59 * time.Second)
		if members := b.group().Members; len(members) != 1 {
			t.Errorf("members %v, 59 s after a pull", members)
		}
		passAll(2 * time.Second)
		if members := b.group().Members; len(members) > 0 {
			t.Errorf("members %v, 61 s after a pull", members)
		}
	})
}

// TestPullKeyShared: of a key one message is out at a time, and one that waits holds up no other key.
func TestPullKeyShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		p := b.producer("t")
		for i := range 12 {
			publish(t, p, keyed(fmt.Sprint("k", i%3), fmt.Sprint(i)))
		}
		cfg := leat.PullConfig{Mode: leat.GroupKeyShared}
		values := func(list []leat.Lent) string {
			var all []string
			for i := range list {
				all = append(all, string(list[i].Value))
			}
			return strings.Join(all, " ")
		}
		list := b.pull(cfg)
		if got := values(list); got != "0 1 2" {
			t.Fatalf("first came %s", got)
		}
		b.pulled(0, cfg)
		mustDo(t, "ack", errors.Join(b.answer(leat.AnswerAck, list[1:]...)...))
		more := b.pull(leat.PullConfig{}) // the mode is that of the group
		if got := values(more); got != "4 5" {
			t.Errorf("with k0 out came %s", got)
		}
		mustDo(t, "nack", b.answers(leat.Answer{Kind: leat.AnswerNack, Delay: 0}, list[0])[0])
		again := b.pull(cfg)
		if got := values(again); got != "0" || again[0].Attempt != 2 {
			t.Errorf("after a nack came %s", got)
		}
	})
}

// TestPullAgrees: a pull is a member like others: modes and configurations agree, and no loan is good for
// what a member has.
func TestPullAgrees(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(10)
	refused := func(what string, cfg leat.PullConfig) {
		t.Helper()
		if list, err := b.Pull(soon(t), "t", "g", cfg); !errors.Is(err, leat.ErrConfigMismatch) {
			t.Errorf("%s: %d messages, %v", what, len(list), err)
		}
	}
	minute := leat.QueueConfig{Lease: time.Minute}
	sub := b.subscribe("t", leat.Group("g"), leat.KeyShared(minute), leat.MaxHeld(1))
	held := next(t, sub)
	refused("a queue beside a member", leat.PullConfig{Mode: leat.GroupQueue})
	refused("another lease beside a member", leat.PullConfig{Queue: leat.QueueConfig{Lease: time.Second}})
	list := b.pull(leat.PullConfig{Max: 1})
	if len(list) != 1 || list[0].Offset == held.Offset {
		t.Fatalf("beside a member: %+v", list)
	}
	refused("a queue beside a pull", leat.PullConfig{Mode: leat.GroupQueue})
	refused("another lease beside a pull", leat.PullConfig{Queue: leat.QueueConfig{Lease: time.Second}})
	if _, err := b.Subscribe("t", leat.Group("g"), leat.Queue()); !errors.Is(err, leat.ErrConfigMismatch) {
		t.Errorf("a queue member beside a pull: %v", err)
	}
	for slot := range int32(4) { // also that of the member
		for epoch := list[0].Loan.Epoch - 4; epoch < list[0].Loan.Epoch; epoch++ {
			wantStale(t, "ack of a loan that was not given", b.answer(leat.AnswerAck,
				leat.Lent{Loan: leat.Loan{Offset: held.Offset, Slot: slot, Epoch: epoch}})[0])
		}
	}
	mustDo(t, "the member's ack", held.Ack())
	wrong := list[0].Loan
	for _, change := range []func(*leat.Loan){
		func(l *leat.Loan) { l.Epoch++ }, func(l *leat.Loan) { l.Slot += 64 },
		func(l *leat.Loan) { l.Slot = -1 }, func(l *leat.Loan) { l.Partition = 1 },
		func(l *leat.Loan) { l.Offset += 64 }, func(l *leat.Loan) { l.Offset = -1 }} {
		other := wrong
		change(&other)
		for kind := leat.AnswerAck; kind <= leat.AnswerExtend; kind++ {
			wantStale(t, fmt.Sprint(kind, " of ", other), b.answer(kind, leat.Lent{Loan: other})[0])
		}
	}
	mustDo(t, "ack", b.answer(leat.AnswerAck, list[0])[0])
	results, err := b.Answer(soon(t), "t", "nobody", leat.Answer{Kind: leat.AnswerAck}, []leat.Loan{wrong})
	if err != nil || !errors.Is(results[0], leat.ErrStaleAck) {
		t.Errorf("another group: %v, %v", results, err)
	}
	stream := b.subscribe("t", leat.Group("s"))
	defer stream.Close()
	if _, err := b.Pull(soon(t), "t", "s", leat.PullConfig{}); !errors.Is(err, leat.ErrConfigMismatch) {
		t.Errorf("a stream group: %v", err)
	}
}

func TestPullRefuses(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	for what, tt := range map[string]struct {
		topic, group string
		cfg          leat.PullConfig
		want         error
	}{
		"no topic":      {"no", "g", leat.PullConfig{}, leat.ErrTopicNotFound},
		"no name":       {"a b", "g", leat.PullConfig{}, leat.ErrInvalidName},
		"no group":      {"t", "", leat.PullConfig{}, leat.ErrInvalidName},
		"a long group":  {"t", strings.Repeat("g", 248), leat.PullConfig{}, leat.ErrInvalidName},
		"too many":      {"t", "g", leat.PullConfig{Max: 1001}, leat.ErrInvalidConfig},
		"fewer than 0":  {"t", "g", leat.PullConfig{Max: -1}, leat.ErrInvalidConfig},
		"too long":      {"t", "g", leat.PullConfig{Wait: 31 * time.Second}, leat.ErrInvalidConfig},
		"no wait":       {"t", "g", leat.PullConfig{Wait: -1}, leat.ErrInvalidConfig},
		"no mode":       {"t", "g", leat.PullConfig{Mode: 3}, leat.ErrInvalidConfig},
		"no lease":      {"t", "g", leat.PullConfig{Queue: leat.QueueConfig{Lease: -1}}, leat.ErrInvalidConfig},
		"no such start": {"t", "g", leat.PullConfig{From: leat.AtOffset(7)}, leat.ErrOffsetOutOfRange},
	} {
		if list, err := b.Pull(soon(t), tt.topic, tt.group, tt.cfg); !errors.Is(err, tt.want) {
			t.Errorf("%s: %d messages, %v; want %v", what, len(list), err, tt.want)
		}
	}
	for what, tt := range map[string]struct {
		topic, group string
		answer       leat.Answer
		loans        int
		want         error
	}{
		"no topic":   {"no", "g", leat.Answer{Kind: leat.AnswerAck}, 1, leat.ErrTopicNotFound},
		"no name":    {"a b", "g", leat.Answer{Kind: leat.AnswerAck}, 1, leat.ErrInvalidName},
		"no group":   {"t", "", leat.Answer{Kind: leat.AnswerAck}, 1, leat.ErrInvalidName},
		"no kind":    {"t", "g", leat.Answer{}, 1, leat.ErrInvalidConfig},
		"too many":   {"t", "g", leat.Answer{Kind: leat.AnswerAck}, 1001, leat.ErrInvalidConfig},
		"ack later":  {"t", "g", leat.Answer{Kind: leat.AnswerAck, Delay: 1}, 1, leat.ErrInvalidConfig},
		"ack reason": {"t", "g", leat.Answer{Kind: leat.AnswerAck, Reason: "x"}, 1, leat.ErrInvalidConfig},
	} {
		results, err := b.Answer(soon(t), tt.topic, tt.group, tt.answer, make([]leat.Loan, tt.loans))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", what, results, err, tt.want)
		}
	}
}

// TestPullLarge: what is too much for one answer is there for the next, as the same delivery.
func TestPullLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		p := b.producer("t")
		for range 5 {
			publish(t, p, leat.Message{Value: make([]byte, 400<<10)})
		}
		cfg := leat.PullConfig{Queue: leat.QueueConfig{Lease: 10 * time.Second}}
		first := b.pulled(3, cfg)
		passAll(9 * time.Second)
		rest := b.pulled(2, cfg)
		passAll(9 * time.Second) // its lease began with the pull
		for i := range rest {
			wantAttempt(t, &rest[i].Message, int64(3+i), 1)
		}
		mustDo(t, "ack", errors.Join(b.answer(leat.AnswerAck, rest...)...))
		_ = first
	})
}

// TestPullRestart: leases end with the process, so what was out comes again, and the old loans are stale.
func TestPullRestart(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(2)
	before := b.pulled(2, leat.PullConfig{})
	mustDo(t, "ack", b.answer(leat.AnswerAck, before[0])[0])
	b = b.reopen()
	wantStale(t, "ack after a restart", b.answer(leat.AnswerAck, before[1])[0])
	after := b.pulled(1, leat.PullConfig{Wait: 30 * time.Second})
	wantAttempt(t, &after[0].Message, 1, 1)
	wantStale(t, "ack with the loan of before", b.answer(leat.AnswerAck, before[1])[0])
	mustDo(t, "ack", b.answer(leat.AnswerAck, after[0])[0])
}

// TestPullEnds: those who wait hear that the topic is gone, or the bus.
func TestPullEnds(t *testing.T) {
	for what, tt := range map[string]struct {
		end  func(b *bed) error
		want error
	}{
		"the topic": {func(b *bed) error { return b.DeleteTopic(soon(b.t), "t") }, leat.ErrTopicNotFound},
		"the bus":   {func(b *bed) error { b.close(); return nil }, leat.ErrClosed},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: leat.AckPage})
			b.fill(1)
			b.pulled(1, leat.PullConfig{}) // so that a reader is open
			ended := make(chan error, 1)
			go func() {
				_, err := b.Pull(t.Context(), "t", "g", leat.PullConfig{Wait: 30 * time.Second})
				ended <- err
			}()
			synctest.Wait()
			mustDo(t, what, tt.end(b))
			if err := <-ended; !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", what, err, tt.want)
			}
		})
	}
}

// TestPullShares: each message goes to one of many pulls and members, and is acked once.
func TestPullShares(t *testing.T) {
	for _, mode := range []leat.GroupMode{leat.GroupQueue, leat.GroupKeyShared} {
		b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
		const each = 300
		var seen sync.Map
		var total sync.WaitGroup
		total.Add(3 * each)
		once := func(partition int32, offset int64) {
			if _, twice := seen.LoadOrStore(fmt.Sprint(partition, "/", offset), true); twice {
				t.Errorf("message %d/%d came twice", partition, offset)
				return
			}
			total.Done()
		}
		ctx, stop := context.WithCancel(soon(t))
		defer stop()
		var working sync.WaitGroup
		for i := range 4 {
			working.Go(func() {
				for ctx.Err() == nil {
					list, err := b.Pull(ctx, "t", "g", leat.PullConfig{Mode: mode, Max: 1 + 20*i, Wait: time.Second})
					if err != nil {
						if ctx.Err() == nil {
							t.Errorf("Pull: %v", err)
						}
						return
					}
					for i := range list {
						once(list[i].Partition, list[i].Offset)
					}
					for _, err := range b.answer(leat.AnswerAck, list...) {
						mustDo(t, "ack", err)
					}
				}
			})
		}
		option := leat.Queue()
		if mode == leat.GroupKeyShared {
			option = leat.KeyShared()
		}
		sub := b.subscribe("t", leat.Group("g"), option, leat.MaxHeld(10))
		b.read(sub, func(m *leat.Message) {
			once(m.Partition, m.Offset)
			mustDo(t, "Ack", m.Ack())
		})
		b.fill(each)
		total.Wait()
		stop()
		working.Wait()
		eventually(t, "all is settled", func() bool { return b.queueLag() == 0 })
	}
}
