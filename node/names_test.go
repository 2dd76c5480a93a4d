package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// fenceProbe is a holder that notes that it was fenced, and takes its time.
type fenceProbe struct {
	fenced  atomic.Int32
	settled chan struct{} // what it has in flight is answered; nil for at once
}

func (f *fenceProbe) fence(ctx context.Context) {
	f.fenced.Add(1)
	if f.settled == nil {
		return
	}
	select {
	case <-f.settled:
	case <-ctx.Done():
	}
}

// claim claims a name of topic "t".
func (b *bed) claim(name string, instance uint64, resume bool, holder nameHolder) (int16, error) {
	b.t.Helper()
	id, epoch, err := b.node.claimName(soon(b.t), b.node.topicNamed("t"), name, instance, resume, holder)
	if err == nil && id != core.NamedProducerID(name) {
		b.t.Errorf("producer id %d of %q, want %d", id, name, core.NamedProducerID(name))
	}
	return epoch, err
}

func (b *bed) wantClaim(what, name string, instance uint64, resume bool, holder nameHolder, epoch int16) {
	b.t.Helper()
	if got, err := b.claim(name, instance, resume, holder); got != epoch || err != nil {
		b.t.Errorf("%s: claim of %q by %d = epoch %d, %v; want %d", what, name, instance, got, err, epoch)
	}
}

func (b *bed) wantFenced(what, name string, instance uint64) {
	b.t.Helper()
	_, err := b.claim(name, instance, true, &fenceProbe{})
	wantError(b.t, what, err, leat.ErrProducerFenced)
}

func TestClaimsOfAName(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	first, second := &fenceProbe{}, &fenceProbe{}
	b.wantClaim("new", "n", 11, false, first, 0)
	b.wantClaim("asked again", "n", 11, false, first, 0)
	b.wantClaim("after a reconnect", "n", 11, true, &fenceProbe{}, 0)
	b.wantClaim("back in its place", "n", 11, true, first, 0)
	if first.fenced.Load() != 0 {
		t.Error("a holder of the same instance was fenced")
	}
	b.wantClaim("another name", "other", 12, false, &fenceProbe{}, 0)
	b.wantClaim("a newer instance", "n", 22, false, second, 1)
	if first.fenced.Load() != 1 {
		t.Errorf("the older holder was fenced %d times", first.fenced.Load())
	}
	b.wantFenced("the older comes back", "n", 11)
	if second.fenced.Load() != 0 {
		t.Error("who was refused has fenced the newest")
	}
	b.node.releaseName(b.node.topicNamed("t"), "n", first) // late
	b.wantClaim("and newer ones", "n", 33, false, &fenceProbe{}, 2)
	if second.fenced.Load() != 1 {
		t.Errorf("the second holder was fenced %d times", second.fenced.Load())
	}
	third := &fenceProbe{}
	b.wantClaim("its last stream", "n", 33, true, third, 2)
	b.node.releaseName(b.node.topicNamed("t"), "n", third)
	b.wantClaim("after it left", "n", 44, false, &fenceProbe{}, 3)
	if third.fenced.Load() != 0 {
		t.Error("who had left was fenced")
	}
	_, err := b.claim("not/a/name", 1, false, first)
	wantError(t, "a bad name", err, leat.ErrInvalidName)
}

func TestBumpName(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	topic := b.node.topicNamed("t")
	_, err := b.node.bumpName(soon(t), topic, "n", 11)
	wantError(t, "a name nobody has", err, leat.ErrProducerFenced)
	b.wantClaim("new", "n", 11, false, &fenceProbe{}, 0)
	for want := range int16(3) {
		if epoch, err := b.node.bumpName(soon(t), topic, "n", 11); epoch != want+1 || err != nil {
			t.Errorf("bumpName = %d, %v; want %d", epoch, err, want+1)
		}
	}
	b.wantClaim("asked again", "n", 11, true, &fenceProbe{}, 3)
	_, err = b.node.bumpName(soon(t), topic, "n", 12)
	wantError(t, "another instance", err, leat.ErrProducerFenced)
	b.wantClaim("newer", "n", 12, false, &fenceProbe{}, 4)
}

// TestNamesSurvive closes and power cuts: epochs only rise, and who was replaced stays so.
func TestNamesSurvive(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	b.wantClaim("new", "n", 11, false, &fenceProbe{}, 0)
	b.wantClaim("newer", "n", 22, false, &fenceProbe{}, 1)
	b = b.reopen()
	b.wantFenced("the older after a restart", "n", 11)
	b.wantClaim("the newest comes back", "n", 22, true, &fenceProbe{}, 1)
	after := b.fs.Crash(3)
	b.close()
	b = openBed(t, after)
	b.wantClaim("the newest after a power cut", "n", 22, true, &fenceProbe{}, 1)
	b.wantClaim("a newer one", "n", 33, false, &fenceProbe{}, 2)
	b = b.reopen()
	b.wantFenced("the one before", "n", 22)
	b.wantClaim("of this process", "n", 0, false, &fenceProbe{}, 3)
	b.wantClaim("of this process again", "n", 0, false, &fenceProbe{}, 4)
}

// TestNamesSurviveSnapshots: __groups is cut while one name is claimed over and over; the others, which are
// not written again, are in the snapshots.
func TestNamesSurviveSnapshots(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	const others = 40
	for i := range uint64(others) {
		b.wantClaim("other", fmt.Sprint("other-", i), i+1, false, &fenceProbe{}, 0)
	}
	b.wantClaim("new", "n", 11, false, &fenceProbe{}, 0)
	part := b.node.names.entries[nameKey{b.node.topicNamed("t").id, "n"}].part
	var last int16
	for part.log.Start() == 0 {
		epoch, err := b.node.bumpName(soon(t), b.node.topicNamed("t"), "n", 11)
		if err != nil || epoch != last+1 {
			t.Fatalf("bumpName = %d, %v after %d", epoch, err, last)
		}
		last = epoch
	}
	b = b.reopen()
	b.wantClaim("after snapshots", "n", 11, true, &fenceProbe{}, last)
	for i := range uint64(others) {
		b.wantClaim("other", fmt.Sprint("other-", i), i+1, true, &fenceProbe{}, 0)
		b.wantFenced("an unknown instance of it", fmt.Sprint("other-", i), 1000)
	}
}

// TestClaimWaitsForTheFence: the name is answered when what the older producer has in flight is.
func TestClaimWaitsForTheFence(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	old := &fenceProbe{settled: make(chan struct{})}
	b.wantClaim("new", "n", 11, false, old, 0)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, _, err := b.node.claimName(ctx, b.node.topicNamed("t"), "n", 22, false, &fenceProbe{})
		failed <- err
	}()
	eventually(t, "the older is fenced", func() bool { return old.fenced.Load() == 1 })
	b.wantClaim("another name meanwhile", "m", 12, false, &fenceProbe{}, 0)
	b.node.releaseName(b.node.topicNamed("t"), "n", &fenceProbe{}) // does not wait for the claim
	cancel()
	if err := receive(t, "the claim gives up", failed); !errors.Is(err, context.Canceled) {
		t.Errorf("claim: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.wantClaim("the same instance again", "n", 22, false, &fenceProbe{}, 1)
	}()
	eventually(t, "the older is fenced again", func() bool { return old.fenced.Load() == 2 })
	select {
	case <-done:
		t.Error("the name was given before the older settled")
	default:
	}
	close(old.settled)
	receive(t, "the claim", done)
}

func TestNamesOfADeletedTopic(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	b.wantClaim("new", "n", 11, false, &fenceProbe{}, 0)
	b.wantClaim("newer", "n", 22, false, &fenceProbe{}, 1)
	if err := b.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	if n := len(b.node.names.entries); n != 0 {
		t.Errorf("%d names after their topic was deleted", n)
	}
	if err := b.CreateTopic(soon(t), "t", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	b.wantClaim("a new topic", "n", 11, false, &fenceProbe{}, 0)
	b = b.reopen()
	b.wantClaim("after a restart", "n", 11, true, &fenceProbe{}, 0)
}

func TestNamesAreBounded(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	topic := b.node.topicNamed("t")
	for i := range core.MaxProducerNames {
		if _, err := b.node.nameEntry(topic, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.claim("one-more", 1, false, &fenceProbe{})
	wantError(t, "one name more", err, core.NewError(core.CodeLimited, "", nil))
	b.wantClaim("one of them", "77", 1, false, &fenceProbe{}, 0)
}

// TestNamedProducersFenceEachOther within one process.
func TestNamedProducersFenceEachOther(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	older := b.producer("t", leat.WithID("writer"))
	publish(t, older, text("a"))
	answered := make(chan error, 2)
	older.PublishAsync(text("b"), func(_ leat.Receipt, err error) { answered <- err })
	newer := b.producer("t", leat.WithID("writer"))
	if err := receive(t, "what was in flight", answered); err != nil {
		t.Errorf("in flight before the fence: %v", err)
	}
	_, err := older.Publish(soon(t), text("x"))
	wantError(t, "Publish", err, leat.ErrProducerFenced)
	_, err = older.PublishBatch(soon(t), []leat.Message{text("x")})
	wantError(t, "PublishBatch", err, leat.ErrProducerFenced)
	wantError(t, "TryPublish", older.TryPublish(text("x")), leat.ErrProducerFenced)
	older.PublishAsync(text("x"), func(_ leat.Receipt, err error) { answered <- err })
	wantError(t, "PublishAsync", receive(t, "the callback", answered), leat.ErrProducerFenced)
	if err := older.Flush(soon(t)); err != nil {
		t.Errorf("Flush of the older: %v", err)
	}
	publish(t, newer, text("c"))
	if err := older.Close(); err != nil {
		t.Errorf("Close of the older: %v", err)
	}
	publish(t, newer, text("d")) // the older's end frees nothing of the newer
	probe := &fenceProbe{}
	b.wantClaim("a remote one", "writer", 7, false, probe, 2)
	_, err = newer.Publish(soon(t), text("x"))
	wantError(t, "Publish after a remote one came", err, leat.ErrProducerFenced)
	b.producer("t", leat.WithID("writer"))
	if probe.fenced.Load() != 1 {
		t.Error("the remote one was not fenced")
	}
	publish(t, b.producer("t", leat.WithID("another")), text("e"))
	sub := b.subscribe("t", leat.From(leat.Earliest))
	if got, want := values(take(t, sub, 5)), "a b c d e"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if _, err := b.Producer("t", leat.WithID("not/a/name")); !errors.Is(err, leat.ErrInvalidName) {
		t.Errorf("a bad name: %v", err)
	}
}

// TestNothingOfTheOlderFollowsTheNewer: producers of one name take over from each other while the older
// ones publish; each must find its records before those of the next.
func TestNothingOfTheOlderFollowsTheNewer(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	var group sync.WaitGroup
	const takeovers = 20
	for i := range takeovers {
		p := b.producer("t", leat.WithID("writer"))
		publish(t, p, text(fmt.Sprint(i)))
		for kind := range 3 {
			group.Go(func() {
				for stopped := false; !stopped; {
					stopped = publishKind(p, kind, fmt.Sprint(i)) != nil
				}
			})
		}
	}
	last := b.producer("t", leat.WithID("writer"))
	group.Wait()
	end := publish(t, last, text(fmt.Sprint(takeovers))).Offset
	sub := b.subscribe("t", leat.From(leat.Earliest))
	before := 0
	for _, m := range take(t, sub, int(end)+1) {
		var now int
		if _, err := fmt.Sscan(string(m.Value), &now); err != nil || now < before {
			t.Fatalf("offset %d: a record of producer %d behind one of %d (%v)", m.Offset, now, before, err)
		}
		before = now
	}
	if before != takeovers {
		t.Errorf("the last record is of producer %d", before)
	}
}

// publishKind publishes in one of three ways, and gives the error that came at once.
func publishKind(p *leat.Producer, kind int, value string) error {
	switch kind {
	case 0:
		_, err := p.Publish(context.Background(), text(value))
		return err
	case 1:
		err := p.TryPublish(text(value))
		if errors.Is(err, leat.ErrFull) {
			return nil
		}
		return err
	}
	refused := make(chan error, 1)
	p.PublishAsync(text(value), func(_ leat.Receipt, err error) { refused <- err })
	return <-refused
}
