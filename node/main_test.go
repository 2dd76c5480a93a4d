package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/mmaplog"
)

// childVariable tells a re-executed test binary which child of childMain it is.
const childVariable = "LEAT_TEST_CHILD"

// TestMain fails the run if any test leaves a goroutine behind.
func TestMain(m *testing.M) {
	if role := os.Getenv(childVariable); role != "" {
		os.Exit(childMain(role))
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !settles(func() bool { return runtime.NumGoroutine() <= before }) {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines left: %d before, %d after\n%s\n",
			before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// patience is how long a test waits for what must happen. Nothing should take that long; a test that
// meets it fails.
const patience = 20 * time.Second

// settles waits until holds, and reports whether it does.
func settles(holds func() bool) bool {
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(200 * time.Microsecond)
	}
	return true
}

// eventually fails the test unless the condition comes true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !settles(holds) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// pass lets time pass, in a bubble of virtual time.
func pass(d time.Duration) { <-time.After(d) }

// soon gives a context for a call that must not hang.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// receive takes one value from c, which must come.
func receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

// cut returns small when the run is short or slowed down by the race detector.
func cut(full, small int) int {
	if testing.Short() || raceEnabled {
		return small
	}
	return full
}

// bed is an open bus on a simulated disk, with everything a test may look at.
type bed struct {
	*leat.Bus
	t    testing.TB
	node *Node
	fs   *mmaplog.MemFS
	open bool
}

// withFS puts the data folder on another file system.
func withFS(fs mmaplog.FS) Option { return func(o *options) { o.fs = fs } }

// withLog changes the settings of the log.
func withLog(change func(*mmaplog.Options)) Option { return func(o *options) { change(&o.log) } }

// newBed opens a bus on an empty simulated disk and closes it when the test ends.
func newBed(t testing.TB, opts ...Option) *bed {
	t.Helper()
	return openBed(t, mmaplog.Heap(), opts...)
}

// openBed opens a bus on a simulated disk.
func openBed(t testing.TB, fs *mmaplog.MemFS, opts ...Option) *bed {
	t.Helper()
	bus, err := Open(soon(t), "data", append(opts, withFS(fs))...)
	if err != nil {
		t.Fatalf("Open: %v\nhint: %s", err, leat.HintFor(err))
	}
	b := &bed{Bus: bus, t: t, node: bus.Backend().(*Node), fs: fs, open: true}
	t.Cleanup(func() {
		if b.open {
			b.close()
		}
	})
	return b
}

// one opens a bus with one topic "t".
func one(t testing.TB, cfg leat.TopicConfig, opts ...Option) *bed {
	t.Helper()
	return newBed(t, append(opts, WithTopic("t", cfg))...)
}

func (b *bed) close() {
	b.t.Helper()
	b.open = false
	if err := b.Close(); err != nil {
		b.t.Errorf("Close: %v", err)
	}
}

// closeBroken closes a bus some of whose partitions are fenced: Close says so.
func (b *bed) closeBroken() error {
	b.open = false
	return b.Close()
}

// reopen closes the bus and opens it again.
func (b *bed) reopen(opts ...Option) *bed {
	b.t.Helper()
	b.close()
	return openBed(b.t, b.fs, opts...)
}

func (b *bed) producer(topic string, opts ...leat.ProducerOption) *leat.Producer {
	b.t.Helper()
	return openProducer(b.t, b.Bus, topic, opts...)
}

func (b *bed) subscribe(topic string, opts ...leat.SubscribeOption) *leat.Subscription {
	b.t.Helper()
	sub, err := b.Subscribe(topic, opts...)
	if err != nil {
		b.t.Fatalf("Subscribe: %v", err)
	}
	return sub
}

// partition gives the data plane of a partition of topic "t".
func (b *bed) partition(number int) *partition { return b.node.topicNamed("t").partitions[number] }

// stall takes the lock of every shard, so that nothing is journaled until resume.
func (b *bed) stall() (resume func()) {
	for _, s := range b.node.shards {
		for !s.tryLock() {
			runtime.Gosched()
		}
	}
	return func() {
		for _, s := range b.node.shards {
			s.unlock()
			s.wakeExecutor()
		}
	}
}

// publish publishes one message, which must work.
func publish(t testing.TB, p *leat.Producer, m leat.Message) leat.Receipt {
	t.Helper()
	r, err := p.Publish(soon(t), m)
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	return r
}

func text(s string) leat.Message { return leat.Message{Value: []byte(s)} }

func keyed(key, value string) leat.Message {
	return leat.Message{Key: []byte(key), Value: []byte(value)}
}

// take reads n messages, which must come, and clones them.
func take(t testing.TB, sub *leat.Subscription, n int) []*leat.Message {
	t.Helper()
	var got []*leat.Message
	if n == 0 {
		return got
	}
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatalf("Messages after %d of %d: %v", len(got), n, err)
		}
		if got = append(got, m.Clone()); len(got) == n {
			return got
		}
	}
	t.Fatalf("loop ended after %d of %d messages", len(got), n)
	return nil
}

// values gives the values of messages, joined by blanks.
func values(list []*leat.Message) string {
	var b strings.Builder
	for i, m := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.Write(m.Value)
	}
	return b.String()
}

// wantError fails the test unless err is want and has a hint.
func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
		return
	}
	if leat.HintFor(err) == "" {
		t.Errorf("%s: no hint for %v", what, err)
	}
}
