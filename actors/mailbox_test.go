package actors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/ringbuf"
)

// newTestSystem closes its System at the end of the test.
func newTestSystem(t testing.TB, o SystemOptions) *System {
	t.Helper()
	s := NewSystem(o)
	t.Cleanup(func() { closeSystem(t, s) })
	return s
}

func closeSystem(t testing.TB, s *System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
}

func mustMailbox[T any](t testing.TB, o MailboxOptions) *RingMailbox[T] {
	t.Helper()
	m, err := NewMailbox[T](o)
	if err != nil {
		t.Fatalf("NewMailbox(%+v) = %v", o, err)
	}
	return m
}

func mustSender[T any](t testing.TB, m *RingMailbox[T]) *Sender[T] {
	t.Helper()
	s, err := m.Sender()
	if err != nil {
		t.Fatalf("Sender() = %v", err)
	}
	return s
}

func mustSpawn(t testing.TB, s *System, props *Props) *PID {
	t.Helper()
	pid, err := s.Spawn(props, "")
	if err != nil {
		t.Fatalf("Spawn = %v", err)
	}
	return pid
}

// receive makes the same function the actor of each incarnation.
func receive(f func(ctx Context)) func() Actor { return func() Actor { return actorFunc(f) } }

type actorFunc func(ctx Context)

func (f actorFunc) Receive(ctx Context) { f(ctx) }

type item struct {
	sender int
	n      int
}

func TestNewMailboxOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    MailboxOptions
		bad  string
	}{
		{"no data lane", MailboxOptions{}, ""},
		{"data", MailboxOptions{DataCapacity: 8, Senders: 2, MaxBatch: 512}, ""},
		{"not a power of two", MailboxOptions{DataCapacity: 7}, "power of two"},
		{"batch too large", MailboxOptions{DataCapacity: 8, MaxBatch: 513}, "MaxBatch 513"},
		{"batch negative", MailboxOptions{DataCapacity: 8, MaxBatch: -1}, "MaxBatch -1"},
		{"too many senders", MailboxOptions{DataCapacity: 8, Senders: 9}, "Producers 9"},
	} {
		_, err := NewMailbox[int](tt.o)
		if tt.bad == "" && err != nil || tt.bad != "" && (err == nil || !strings.Contains(err.Error(), tt.bad)) {
			t.Errorf("%s: NewMailbox(%+v) = %v, want error with %q", tt.name, tt.o, err, tt.bad)
		}
	}
	m := mustMailbox[int](t, MailboxOptions{})
	if _, err := m.Sender(); err == nil {
		t.Error("Sender() of a mailbox without a data lane succeeded")
	}
	m = mustMailbox[int](t, MailboxOptions{DataCapacity: 4, Senders: 1})
	mustSender(t, m)
	if _, err := m.Sender(); !errors.Is(err, ringbuf.ErrTooMany) {
		t.Errorf("second Sender() = %v, want %v", err, ringbuf.ErrTooMany)
	}
}

// TestMailboxLanesUnderLoad has many senders of both kinds and checks that everything arrives, in order
// per sender, never two at once.
func TestMailboxLanesUnderLoad(t *testing.T) {
	const senders, each = 4, 3_000
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 256, Senders: senders})
	var inside, got atomic.Int32
	var next [2][senders]int
	check := func(lane int, it *item) {
		if it.n != next[lane][it.sender] {
			t.Errorf("lane %d, sender %d: got %d, want %d", lane, it.sender, it.n, next[lane][it.sender])
		}
		next[lane][it.sender] = it.n + 1
		got.Add(1)
	}
	pid := mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		if inside.Add(1) != 1 {
			t.Error("two messages at once")
		}
		defer inside.Add(-1)
		switch msg := ctx.Message().(type) {
		case *Batch[item]:
			for i := range msg.Len() {
				check(0, msg.At(i))
			}
		case *item:
			check(1, msg)
		}
	}), nil))
	var wg sync.WaitGroup
	for id := range senders {
		sender := mustSender(t, m)
		wg.Go(func() {
			for n := range each {
				if err := sender.Send(context.Background(), &item{id, n}); err != nil {
					t.Errorf("Send = %v", err)
				}
			}
		})
		wg.Go(func() {
			for n := range each {
				s.Send(pid, &item{id, n})
			}
		})
	}
	wg.Wait()
	eventually(t, "all messages handled", func() bool { return got.Load() == 2*senders*each })
	if m.Len() != 0 {
		t.Errorf("Len() = %d after all was handled, want 0", m.Len())
	}
}

// TestMailboxLostWakeup sends each message at the moment the mailbox goes idle after the last.
func TestMailboxLostWakeup(t *testing.T) {
	const rounds = 30_000
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 4})
	sender := mustSender(t, m)
	var got atomic.Int64
	pid := mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		switch ctx.Message().(type) {
		case *item, *Batch[item]:
			got.Add(1)
		}
	}), nil))
	control := &item{}
	for n := range int64(rounds) {
		if n%2 == 0 {
			sender.TrySend(control)
		} else {
			s.Send(pid, control)
		}
		for spins := 0; got.Load() != n+1; spins++ {
			if runtime.Gosched(); spins > 1_000_000 {
				t.Fatalf("message %d was not handled: a wake-up was lost", n)
			}
		}
	}
}

// TestMailboxBeforeStart sends before protoactor has started the mailbox.
func TestMailboxBeforeStart(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 4})
	sender := mustSender(t, m)
	m.PostUserMessage("early")
	if !sender.TrySend(&item{n: 7}) {
		t.Fatal("TrySend before Start = false")
	}
	var got []string
	pid := mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		switch msg := ctx.Message().(type) {
		case *Started:
			got = append(got, "started")
		case string:
			got = append(got, msg)
		case *Batch[item]:
			got = append(got, fmt.Sprint("data ", msg.At(0).n))
		}
	}), nil))
	if err := s.Stop(t.Context(), pid); err != nil {
		t.Fatalf("Stop = %v", err)
	}
	if want := []string{"started", "early", "data 7"}; !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

func TestMailboxBelongsToOneActor(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[int](t, MailboxOptions{})
	props := m.Props(receive(func(Context) {}), nil)
	mustSpawn(t, s, props)
	if _, err := s.Spawn(props, "second"); err == nil || !strings.Contains(err.Error(), "belongs to actor") {
		t.Errorf("second Spawn = %v, want an error that names the owner", err)
	}
}

// poisonState outlives incarnations.
type poisonState struct {
	mu    sync.Mutex
	seen  []int
	tries map[int]int
}

// TestMailboxPoison lets some of 500 data messages panic several times: the order stays exact, nothing
// is lost, and what Done covered is not handled twice.
func TestMailboxPoison(t *testing.T) {
	const n = 500
	var failures atomic.Int32
	s := newTestSystem(t, SystemOptions{OnFailure: func(f Failure) {
		if f.Action != Restarted || f.Stack == nil {
			t.Errorf("failure %+v, want a restart with a stack", f)
		}
		failures.Add(1)
	}})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 64})
	sender := mustSender(t, m)
	state := poisonState{tries: map[int]int{}}
	incarnations := 0
	mustSpawn(t, s, m.Props(func() Actor {
		incarnations++
		return actorFunc(func(ctx Context) {
			b, ok := ctx.Message().(*Batch[item])
			if !ok {
				return
			}
			state.mu.Lock()
			defer state.mu.Unlock()
			for i := range b.Len() {
				e := b.At(i).n
				if state.tries[e]++; e%100 == 77 && state.tries[e] <= 3 {
					panic(fmt.Sprint("poison ", e))
				}
				state.seen = append(state.seen, e)
				b.Done(i + 1)
			}
		})
	}, nil))
	for i := range n {
		if err := sender.Send(t.Context(), &item{n: i}); err != nil {
			t.Fatalf("Send(%d) = %v", i, err)
		}
	}
	eventually(t, "all handled", func() bool {
		state.mu.Lock()
		defer state.mu.Unlock()
		return len(state.seen) == n
	})
	for i, e := range state.seen {
		if e != i {
			t.Fatalf("message %d is %d: lost, repeated or reordered", i, e)
		}
	}
	if incarnations != 16 || failures.Load() != 15 {
		t.Errorf("%d incarnations, %d failures reported; want 16 and 15", incarnations, failures.Load())
	}
}

// TestMailboxRedeliversWholeBatch checks the other side of Done: without it a batch comes again whole.
func TestMailboxRedeliversWholeBatch(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 8, SendBatch: 3})
	sender := mustSender(t, m)
	lengths := make(chan int, 2)
	failed := false
	mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		if b, ok := ctx.Message().(*Batch[item]); ok {
			lengths <- b.Len()
			if !failed {
				failed = true
				panic("once")
			}
		}
	}), nil))
	b, ok := sender.TryClaim(3)
	if !ok {
		t.Fatal("TryClaim(3) = false")
	}
	sender.Publish(b)
	if first, second := <-lengths, <-lengths; first != 3 || second != 3 {
		t.Errorf("batches of %d and %d, want 3 and 3", first, second)
	}
}

// TestMailboxSuspended checks that nothing is handled between failure and restart, and all of it after.
func TestMailboxSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		defer closeSystem(t, s)
		m := mustMailbox[item](t, MailboxOptions{DataCapacity: 8, Wait: ringbuf.Block})
		sender := mustSender(t, m)
		var got journal
		pid := mustSpawn(t, s, m.Props(receive(func(ctx Context) {
			switch msg := ctx.Message().(type) {
			case string:
				got.add(msg)
				if msg == "bad" {
					panic(msg)
				}
			case *Batch[item]:
				got.add("data")
			}
		}), nil))
		s.Send(pid, "bad")
		synctest.Wait()
		s.Send(pid, "good")
		sender.TrySend(&item{})
		synctest.Wait()
		if want := []string{"bad"}; !slices.Equal(got.lines(), want) {
			t.Errorf("while suspended: %q, want %q", got.lines(), want)
		}
		<-time.After(20 * time.Millisecond)
		synctest.Wait()
		if want := []string{"bad", "good", "data"}; !slices.Equal(got.lines(), want) {
			t.Errorf("after the restart: %q, want %q", got.lines(), want)
		}
	})
}

// told is a message that remembers what became of it.
type told struct {
	done bool
	err  error
}

func (m *told) Abandoned(err error) { m.err = err }

// TestMailboxControlFull fills the control lane of an actor that does not come back.
func TestMailboxControlFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		defer closeSystem(t, s)
		release := make(chan struct{})
		handled := 0
		pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			switch ctx.Message().(type) {
			case string:
				<-release
			case *told:
				handled++
			}
		})))
		s.Send(pid, "block")
		synctest.Wait()
		for range controlCapacity {
			s.Send(pid, &told{})
		}
		start := time.Now()
		extra := &told{}
		s.Send(pid, extra)
		if waited := time.Since(start); waited != controlWait || !errors.Is(extra.err, core.ErrFull) {
			t.Errorf("send to a full lane took %v, told %v; want %v and %v",
				waited, extra.err, controlWait, core.ErrFull)
		}
		if got := s.DeadLetters(); got != 1 {
			t.Errorf("DeadLetters() = %d, want 1", got)
		}
		var wg sync.WaitGroup
		for range 10 { // these wait, and get through once there is room
			wg.Go(func() { s.Send(pid, &told{}) })
		}
		synctest.Wait()
		start = time.Now()
		close(release)
		wg.Wait()
		if waited := time.Since(start); waited != 0 {
			t.Errorf("senders waited %v more after there was room", waited)
		}
		synctest.Wait()
		if want := controlCapacity + 10; handled != want {
			t.Errorf("handled %d messages, want %d", handled, want)
		}
	})
}

// TestMailboxStopDrains checks that Stop handles what was queued, both lanes, before Stopped.
func TestMailboxStopDrains(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 1024})
	sender := mustSender(t, m)
	entered, release := make(chan struct{}), make(chan struct{})
	var controls, datas int
	var stopped bool
	pid := mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		switch msg := ctx.Message().(type) {
		case string:
			close(entered)
			<-release
		case *told:
			controls++
		case *Batch[item]:
			datas += msg.Len()
		case *Stopped:
			stopped = true
		}
	}), nil))
	s.Send(pid, "block")
	<-entered
	for i := range 40 {
		s.Send(pid, &told{})
		sender.TrySend(&item{n: i})
	}
	for i := range 900 {
		sender.TrySend(&item{n: i})
	}
	result := make(chan error)
	go func() { result <- s.Stop(context.Background(), pid) }()
	eventually(t, "stop queued", m.system.pending)
	close(release)
	if err := <-result; err != nil {
		t.Fatalf("Stop = %v", err)
	}
	if controls != 40 || datas != 940 || !stopped {
		t.Errorf("handled %d control and %d data messages, stopped %v; want 40, 940, true",
			controls, datas, stopped)
	}
	late := &told{}
	s.Send(pid, late)
	if !errors.Is(late.err, core.ErrClosed) {
		t.Errorf("message after the stop was told %v, want %v", late.err, core.ErrClosed)
	}
	if sender.TrySend(&item{}) {
		t.Error("TrySend after the stop = true")
	}
	if err := sender.Send(t.Context(), &item{}); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Send after the stop = %v, want %v", err, core.ErrClosed)
	}
}

// toldSlot is a data slot that wants to know.
type toldSlot struct{ message *told }

func (s *toldSlot) Abandoned(err error) { s.message.Abandoned(err) }

// TestMailboxStopInTime gives a stop no time: what is queued is abandoned, and everybody is told.
func TestMailboxStopInTime(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[toldSlot](t, MailboxOptions{DataCapacity: 4})
	sender := mustSender(t, m)
	entered, release := make(chan struct{}), make(chan struct{})
	pid := mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		switch ctx.Message().(type) {
		case string:
			close(entered)
			<-release
		case *told, *Batch[toldSlot]:
			t.Errorf("handled %T after a stop without time", ctx.Message())
		}
	}), nil))
	s.Send(pid, "block")
	<-entered
	control, data := &told{}, make([]*told, 4)
	s.Send(pid, control)
	for i := range data {
		data[i] = &told{}
		sender.TrySend(&toldSlot{data[i]})
	}
	waiting := make(chan error)
	go func() { waiting <- sender.Send(context.Background(), &toldSlot{&told{}}) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx, pid); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v, want %v", err, context.Canceled)
	}
	close(release)
	if err := <-waiting; !errors.Is(err, core.ErrClosed) {
		t.Errorf("the Send that waited = %v, want %v", err, core.ErrClosed)
	}
	closeSystem(t, s)
	for i, message := range append(data, control) {
		if !errors.Is(message.err, core.ErrClosed) {
			t.Errorf("message %d was told %v, want %v", i, message.err, core.ErrClosed)
		}
	}
}

// TestMailboxFairness checks that an actor with endless work lets others of its dispatcher run.
func TestMailboxFairness(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	d := &oneThread{work: make(chan func(), 16), ended: make(chan struct{})}
	go d.run()
	defer d.close()
	busy := mustMailbox[int](t, MailboxOptions{})
	var stop atomic.Bool
	pid := mustSpawn(t, s, busy.Props(receive(func(ctx Context) {
		if _, ok := ctx.Message().(string); ok && !stop.Load() {
			ctx.Send(ctx.Self(), "again")
		}
	}), d))
	s.Send(pid, "again")
	other := mustMailbox[int](t, MailboxOptions{})
	neighbour := mustSpawn(t, s, other.Props(receive(func(ctx Context) {
		if r, ok := ctx.Message().(ping); ok {
			r.Answer(1, nil)
		}
	}), d))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := Call(ctx, s, neighbour, func(r Reply[int]) any { return ping{r} }); err != nil {
		t.Errorf("Call beside a busy actor = %v", err)
	}
	stop.Store(true)
	for _, p := range []*PID{pid, neighbour} {
		if err := s.Stop(ctx, p); err != nil {
			t.Errorf("Stop = %v", err)
		}
	}
}

type ping struct{ Reply[int] }

// oneThread runs mailboxes one after the other, as a shard does.
type oneThread struct {
	work  chan func()
	ended chan struct{}
}

func (d *oneThread) Schedule(fn func()) { d.work <- fn }
func (d *oneThread) Throughput() int    { return 10 }

func (d *oneThread) run() {
	defer close(d.ended)
	for fn := range d.work {
		fn()
	}
}

func (d *oneThread) close() {
	close(d.work)
	<-d.ended
}

// TestMailboxAllocates holds the data lane to no allocation per message.
func TestMailboxAllocates(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	m := mustMailbox[item](t, MailboxOptions{DataCapacity: 1024, SendBatch: 64})
	sender := mustSender(t, m)
	var got atomic.Int64
	mustSpawn(t, s, m.Props(receive(func(ctx Context) {
		if b, ok := ctx.Message().(*Batch[item]); ok {
			got.Add(int64(b.Len()))
		}
	}), nil))
	var sent int64
	least := math.Inf(1) // of some windows: others run in this process
	for range 8 {
		least = min(least, testing.AllocsPerRun(5, func() {
			for range 200 {
				b, err := sender.Claim(context.Background(), 64)
				if err != nil {
					t.Fatal(err)
				}
				sender.Publish(b)
				sent += 64
			}
			for got.Load() != sent {
				<-time.After(time.Microsecond)
			}
		}))
	}
	if perMessage := least / (200 * 64); perMessage > 0.02 {
		t.Errorf("%.4f allocations per message (%.0f per run), want 0", perMessage, least)
	}
}

// TestBatchDone checks the bounds of Done.
func TestBatchDone(t *testing.T) {
	b := Batch[int]{limit: 8}
	b.clip(make([]int, 3), make([]int, 2))
	*b.At(4) = 9
	if b.Len() != 5 || b.second[1] != 9 {
		t.Fatalf("Len() = %d, slot 4 = %d; want 5, 9", b.Len(), b.second[1])
	}
	b.Done(3)
	for _, n := range []int{2, 6, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Done(%d) after Done(3) of 5 did not panic", n)
				}
			}()
			b.Done(n)
		}()
	}
	b.limit = 4
	if b.clip(make([]int, 3), make([]int, 2)); b.Len() != 4 {
		t.Errorf("clip to 4 left %d", b.Len())
	}
	if b.clip(make([]int, 6), nil); b.Len() != 4 {
		t.Errorf("clip of 6 to 4 left %d", b.Len())
	}
}
