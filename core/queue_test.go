package core

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// queueScript steps a queue and prints the effects of each step, one line each.
type queueScript struct {
	t   *testing.T
	q   *Queue
	now int64
	out QueueEffects
}

func newQueueScript(t *testing.T, cfg QueueConfig) *queueScript {
	return &queueScript{t: t, q: NewQueue(cfg, 0, 100, 1)}
}

func (s *queueScript) step(in QueueInput, want ...string) {
	s.t.Helper()
	s.out.Reset()
	s.q.Step(&in, s.now, &s.out)
	var got []string
	for i := range s.out.List {
		got = append(got, printQueueEffect(&s.out.List[i]))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Errorf("at %d, after %+v:\n\t%s\nwant\n\t%s", s.now, in, strings.Join(got, "\n\t"),
			strings.Join(want, "\n\t"))
	}
}

func printQueueEffect(e *QueueEffect) string {
	switch e.Kind {
	case QueueDeliver:
		return fmt.Sprintf("deliver %d+%b to %d, attempt %d", e.Grant.Lo, e.Grant.Left, e.Member, e.Attempt)
	case QueueRead:
		return fmt.Sprintf("read %d from %d", e.Count, e.Offset)
	case QueueBury:
		return fmt.Sprintf("bury %d after %d: %v", e.Offset, e.Attempt, e.Code)
	case QueueStale:
		return fmt.Sprintf("stale %d+%b of %d", e.Grant.Lo, e.Grant.Left, e.Member)
	case QueueStore:
		return fmt.Sprintf("store %d: attempt %d, due %d", e.Offset, e.Attempt, e.Due)
	case QueueErase:
		return fmt.Sprintf("erase %d", e.Offset)
	}
	return fmt.Sprintf("%+v", *e)
}

// last is the grant of the last delivery.
func (s *queueScript) last() QueueGrant {
	for i := len(s.out.List) - 1; i >= 0; i-- {
		if s.out.List[i].Kind == QueueDeliver {
			return s.out.List[i].Grant
		}
	}
	s.t.Fatal("nothing was delivered")
	return QueueGrant{}
}

func (g QueueGrant) only(bits uint64) QueueGrant {
	g.Left = bits
	return g
}

var flat = QueueConfig{Lease: 10, Retry: Backoff{Min: 4, Max: 8, Factor: 2}}

func TestQueueSharesWhatIsThere(t *testing.T) {
	s := newQueueScript(t, flat)
	s.step(QueueInput{Kind: QueueReadable, Offset: 4})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 3}, "deliver 0+111 to 1, attempt 1")
	s.step(QueueInput{Kind: QueueJoin, Member: 2, Max: 10}, "deliver 3+1 to 2, attempt 1")
	s.step(QueueInput{Kind: QueueJoin, Member: 3, Max: 10})
	s.step(QueueInput{Kind: QueueReadable, Offset: 9},
		"deliver 4+111 to 2, attempt 1", "deliver 7+1 to 3, attempt 1", "deliver 8+1 to 2, attempt 1")
}

func TestQueueAcksAndStaleAnswers(t *testing.T) {
	s := newQueueScript(t, flat)
	s.step(QueueInput{Kind: QueueReadable, Offset: 3})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 3}, "deliver 0+111 to 1, attempt 1")
	g := s.last()
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: g.only(0b010)})
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: g.only(0b011)}, "stale 0+10 of 1")
	s.step(QueueInput{Kind: QueueAck, Member: 2, Grant: g.only(0b100)}, "stale 0+100 of 2")
	s.now = 10
	s.step(QueueInput{Kind: QueueTick}, "store 2: attempt 1, due 14")
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: g.only(0b100)}, "stale 0+100 of 1")
	s.now = 14
	s.step(QueueInput{Kind: QueueTick}, "deliver 2+1 to 1, attempt 2")
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: s.last()}, "erase 2")
	if s.q.Lag() != 0 || s.q.NextDeadline() != 0 {
		t.Errorf("lag %d, next deadline %d", s.q.Lag(), s.q.NextDeadline())
	}
	wild := QueueGrant{Lo: 1, Left: 1, Epoch: 1, Slot: 1 << 30}
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: wild}, "stale 1+1 of 1")
	wild.Slot = -1
	s.step(QueueInput{Kind: QueueNack, Member: 1, Grant: wild}, "stale 1+1 of 1")
}

func TestQueueLeases(t *testing.T) {
	s := newQueueScript(t, flat)
	s.step(QueueInput{Kind: QueueReadable, Offset: 1})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 3}, "deliver 0+1 to 1, attempt 1")
	s.now = 9
	s.step(QueueInput{Kind: QueueExtend, Member: 1, Grant: s.last()})
	if at := s.q.NextDeadline(); at != 19 {
		t.Errorf("extended to %d", at)
	}
	s.now = 12
	s.step(QueueInput{Kind: QueueLeave, Member: 1})
	s.step(QueueInput{Kind: QueueJoin, Member: 2, Max: 1}, "deliver 0+1 to 2, attempt 1") // no attempt was lost
	s.step(QueueInput{Kind: QueueLost, Member: 2}, "store 0: attempt 1, due 16")
}

func TestQueueBuries(t *testing.T) {
	cfg := flat
	cfg.MaxAttempts, cfg.Lease = 2, time.Hour
	s := newQueueScript(t, cfg)
	s.step(QueueInput{Kind: QueueReadable, Offset: 2})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 1}, "deliver 0+1 to 1, attempt 1")
	s.step(QueueInput{Kind: QueueNack, Member: 1, Grant: s.last(), Delay: 0},
		"store 0: attempt 1, due 0", "deliver 0+1 to 1, attempt 2")
	s.step(QueueInput{Kind: QueueNack, Member: 1, Grant: s.last(), Delay: -1},
		"store 0: attempt 2, due 0", "bury 0 after 2: LEAT-7003", "deliver 1+1 to 1, attempt 1")
	dying, one := s.out.List[1].Grant, s.last()
	s.step(QueueInput{Kind: QueueBuryFailed, Grant: dying})
	s.now = s.q.NextDeadline()
	s.step(QueueInput{Kind: QueueTick}, "bury 0 after 2: LEAT-7003")
	s.step(QueueInput{Kind: QueueBuried, Grant: s.out.List[0].Grant}, "erase 0")
	s.step(QueueInput{Kind: QueueReject, Member: 1, Grant: one},
		"store 1: attempt 1, due "+fmt.Sprint(s.now), "bury 1 after 1: LEAT-7002")
	s.step(QueueInput{Kind: QueueBuried, Grant: s.out.List[1].Grant}, "erase 1")
	if s.q.Lag() != 0 {
		t.Errorf("lag %d", s.q.Lag())
	}
}

func TestQueueKeysBlockOnlyThemselves(t *testing.T) {
	cfg := flat
	cfg.Ordered = true
	s := newQueueScript(t, cfg)
	s.step(QueueInput{Kind: QueueReadable, Offset: 5})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 10}, "read 5 from 0")
	s.step(QueueInput{Kind: QueueKeys, Offset: 0, Keys: []uint64{7, 7, 8, 0, 7}},
		"deliver 0+1 to 1, attempt 1", "deliver 2+1 to 1, attempt 1", "deliver 3+1 to 1, attempt 1")
	first := s.out.List[0].Grant
	s.step(QueueInput{Kind: QueueNack, Member: 1, Grant: first, Delay: 3}, "store 0: attempt 1, due 3")
	s.now = 3
	s.step(QueueInput{Kind: QueueTick}, "deliver 0+1 to 1, attempt 2")
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: s.last()}, "erase 0", "deliver 1+1 to 1, attempt 1")
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: s.last()}, "deliver 4+1 to 1, attempt 1")
}

func TestQueueRate(t *testing.T) {
	cfg := flat
	cfg.Lease, cfg.Rate = time.Hour, 20 // a burst of 2
	s := newQueueScript(t, cfg)
	s.now = int64(time.Second)
	s.step(QueueInput{Kind: QueueReadable, Offset: 100})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 100}, "deliver 0+11 to 1, attempt 1")
	s.now = s.q.NextDeadline()
	if s.now != int64(1050*time.Millisecond) {
		t.Errorf("the next is due at %v", time.Duration(s.now))
	}
	s.step(QueueInput{Kind: QueueTick}, "deliver 2+1 to 1, attempt 1")
}

// TestQueueStopsAtTheBound: what nobody settles bounds how much is handed out.
func TestQueueStopsAtTheBound(t *testing.T) {
	cfg := flat
	cfg.MaxUnsettled = 5
	s := newQueueScript(t, cfg)
	s.step(QueueInput{Kind: QueueReadable, Offset: 100})
	s.step(QueueInput{Kind: QueueJoin, Member: 1, Max: 100}, "deliver 0+11111 to 1, attempt 1")
	s.step(QueueInput{Kind: QueueAck, Member: 1, Grant: s.last().only(0b1)}, "deliver 5+1 to 1, attempt 1")
}

func TestQueueConfig(t *testing.T) {
	for _, bad := range []QueueConfig{
		{Lease: -1}, {Lease: 48 * time.Hour}, {MaxUnsettled: 1 << 30}, {Rate: -1},
		{Retry: Backoff{Min: 2, Max: 1}}, {Retry: Backoff{Max: 1, Factor: 0.5}},
		{Retry: Backoff{Max: 1, Jitter: 2}},
	} {
		if err := bad.Validate("g"); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%+v is %v", bad, err)
		}
	}
	good := QueueConfig{}.WithDefaults()
	if err := good.Validate("g"); err != nil {
		t.Error(err)
	}
	b := Backoff{Min: time.Second, Max: time.Minute, Factor: 3, Jitter: 0.5}
	for attempts, want := range []time.Duration{
		1: time.Second, 2: 3 * time.Second, 3: 9 * time.Second, 50: time.Minute,
	} {
		if want == 0 {
			continue
		}
		if got := b.delay(int32(attempts), 0); got != int64(want) {
			t.Errorf("after %d attempts %v, want %v", attempts, time.Duration(got), want)
		}
		if got := b.delay(int32(attempts), ^uint64(0)); got > int64(want)/2+1000 || got < int64(want)/2 {
			t.Errorf("after %d attempts at least %v, want half of %v", attempts, time.Duration(got), want)
		}
	}
}

// FuzzQueueProgress: progress that is read is written again as it was, and no bytes make it panic.
func FuzzQueueProgress(f *testing.F) {
	w := newQueueWorld(3, QueueConfig{Lease: 40})
	for range 200 {
		if err := w.turn(); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(w.q.EncodeProgress(nil))
	f.Add(NewQueue(QueueConfig{}, 0, 1, 1).EncodeProgress(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		q := NewQueue(QueueConfig{Ordered: true}, 0, 0, 1)
		if err := q.RestoreProgress(src); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersionTooNew) {
				t.Fatal(err)
			}
			return
		}
		q.Restored(0)
		again := NewQueue(QueueConfig{Ordered: true}, 0, 0, 1)
		encoded := q.EncodeProgress(nil)
		if err := again.RestoreProgress(encoded); err != nil {
			t.Fatal(err)
		}
		again.Restored(0)
		if again.epoch <= q.epoch && q.epoch <= math.MaxInt64-epochStep {
			t.Fatalf("epoch %d is restored as %d", q.epoch, again.epoch)
		}
		again.epoch = q.epoch
		if again.Next() != q.Next() || again.Unsettled() != q.Unsettled() ||
			!bytes.Equal(again.EncodeProgress(nil), encoded) {
			t.Fatalf("%x is read as next %d, %d unsettled", encoded, again.Next(), again.Unsettled())
		}
	})
}

func BenchmarkQueue(b *testing.B) {
	for _, ordered := range []bool{false, true} {
		b.Run(fmt.Sprintf("ordered=%v", ordered), func(b *testing.B) {
			q := NewQueue(QueueConfig{Ordered: ordered}, 0, 1, 1)
			var out QueueEffects
			for id := range int64(4) {
				q.Step(&QueueInput{Kind: QueueJoin, Member: id, Max: 256}, 0, &out)
			}
			keys := make([]uint64, queueReadAhead)
			todo := []QueueEffect{}
			b.ReportAllocs()
			b.ResetTimer()
			for n := int64(0); n < int64(b.N); {
				out.Reset()
				q.Step(&QueueInput{Kind: QueueReadable, Offset: n + 4096}, n, &out)
				todo = append(todo[:0], out.List...)
				for len(todo) > 0 {
					e := todo[0]
					todo = todo[1:]
					out.Reset()
					switch e.Kind {
					case QueueDeliver:
						q.Step(&QueueInput{Kind: QueueAck, Member: e.Member, Grant: e.Grant}, n, &out)
					case QueueRead:
						for i := range keys[:e.Count] {
							keys[i] = uint64(e.Offset+int64(i))*0x9e3779b97f4a7c15 | 1
						}
						q.Step(&QueueInput{Kind: QueueKeys, Offset: e.Offset, Keys: keys[:e.Count]}, n, &out)
					}
					todo = append(todo, out.List...)
				}
				n = q.Next()
			}
		})
	}
}
