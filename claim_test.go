package leat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
)

// claimBackend notes what is published through it.
type claimBackend struct {
	ProducerBackend
	refuse error // of CheckClaim
	fail   error // of Publish
	got    []*Message
	ctx    context.Context
}

func (b *claimBackend) CheckClaim(keyBytes, valueBytes int) error {
	if _, err := core.RecordSize(keyBytes, valueBytes, nil); err != nil {
		return err
	}
	return b.refuse
}

func (b *claimBackend) Publish(ctx context.Context, m Message) (Receipt, error) {
	b.got = append(b.got, m.Clone())
	b.ctx = ctx
	return Receipt{Offset: int64(len(b.got))}, b.fail
}

func (b *claimBackend) PublishAsync(m Message, done func(Receipt, error)) {
	b.got = append(b.got, m.Clone())
	done(Receipt{Offset: int64(len(b.got))}, b.fail)
}

func claim(t *testing.T, p *Producer, key []byte, n int) Claim {
	t.Helper()
	c, err := p.Claim(t.Context(), key, n)
	if err != nil {
		t.Fatalf("Claim(%q, %d): %v", key, n, err)
	}
	return c
}

func TestClaimIsTheMessage(t *testing.T) {
	backend := &claimBackend{}
	p := &Producer{backend: backend}
	key := []byte("key")
	c := claim(t, p, key, 5)
	copy(key, "xxx") // it was copied
	if n := copy(c.Bytes(), "value and more"); n != 5 || cap(c.Bytes()) != 5 {
		t.Fatalf("%d bytes to write, capacity %d, want 5", n, cap(c.Bytes()))
	}
	c.Headers, c.Partition = []Header{{Key: "h", Value: []byte("v")}}, 3
	if err := c.Publish(); err != nil || c.Receipt().Offset != 1 || backend.ctx != t.Context() {
		t.Errorf("Publish: %v, receipt %+v", err, c.Receipt())
	}
	c = claim(t, p, nil, 0)
	c.PublishAsync(func(r Receipt, err error) {
		if r.Offset != 2 || err != nil {
			t.Errorf("the callback got %+v, %v", r, err)
		}
	})
	c = claim(t, p, []byte{}, 10)
	copy(c.Bytes(), "0123456789")
	c.Truncate(10)
	c.Truncate(4)
	if len(c.Bytes()) != 4 || cap(c.Bytes()) != 4 {
		t.Errorf("%d bytes, capacity %d after Truncate(4)", len(c.Bytes()), cap(c.Bytes()))
	}
	backend.fail = ErrUnavailable
	if err := c.Publish(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Publish: %v, want ErrUnavailable", err)
	}
	for i, want := range []Message{
		{Key: []byte("key"), Value: []byte("value"), Partition: 3,
			Headers: []Header{{Key: "h", Value: []byte("v")}}},
		{Key: nil, Value: []byte{}},
		{Key: []byte{}, Value: []byte("0123")},
	} {
		got := backend.got[i]
		if fmt.Sprintf("%#v", *got) != fmt.Sprintf("%#v", want) {
			t.Errorf("message %d: %#v, want %#v", i, *got, want)
		}
	}
}

func TestClaimRefusals(t *testing.T) {
	backend := &claimBackend{}
	p := &Producer{backend: backend}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx    context.Context
		key, n int
		refuse error
		want   error
	}{
		"too large": {t.Context(), 0, 16 << 20, nil, ErrRecordTooLarge},
		"huge":      {t.Context(), 0, int(^uint(0) >> 1), nil, ErrRecordTooLarge},
		"negative":  {t.Context(), 0, -1, nil, core.ErrInvalidRecord},
		"key":       {t.Context(), 33 << 10, 1, nil, core.ErrInvalidRecord},
		"closed":    {t.Context(), 0, 1, ErrClosed, ErrClosed},
		"context":   {gone, 0, 1, nil, context.Canceled},
	} {
		backend.refuse = tt.refuse
		c, err := p.Claim(tt.ctx, make([]byte, tt.key), tt.n)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		c.Abort() // as a deferred one would
		wantClaimPanic(t, name+", Bytes", func() { c.Bytes() })
	}
}

// wantClaimPanic checks that the misuse of a claim is told.
func wantClaimPanic(t *testing.T, what string, misuse func()) {
	t.Helper()
	defer func() {
		if got := fmt.Sprint(recover()); !bytes.HasPrefix([]byte(got), []byte("leat: ")) {
			t.Errorf("%s: panic %s", what, got)
		}
	}()
	misuse()
}

func TestClaimEndsOnce(t *testing.T) {
	ends := map[string]func(c *Claim){
		"Publish":      func(c *Claim) { _ = c.Publish() },
		"PublishAsync": func(c *Claim) { c.PublishAsync(func(Receipt, error) {}) },
		"Abort":        (*Claim).Abort,
	}
	backend := &claimBackend{}
	p := &Producer{backend: backend}
	for name, end := range ends {
		c := claim(t, p, nil, 8)
		duplicate := c
		end(&c)
		published := len(backend.got)
		other := claim(t, p, nil, 8) // most often of the same buffer
		copy(other.Bytes(), "intact")
		for which, over := range map[string]*Claim{"it": &c, "a copy": &duplicate} {
			over.Abort()
			wantClaimPanic(t, name+", then Publish of "+which, func() { _ = over.Publish() })
			wantClaimPanic(t, name+", then PublishAsync of "+which, func() { over.PublishAsync(nil) })
			wantClaimPanic(t, name+", then Bytes of "+which, func() { over.Bytes() })
			wantClaimPanic(t, name+", then Truncate of "+which, func() { over.Truncate(0) })
		}
		if len(backend.got) != published || !bytes.HasPrefix(other.Bytes(), []byte("intact")) {
			t.Errorf("%s: a claim that is over published, or touched another", name)
		}
		for _, n := range []int{-1, 9} {
			wantClaimPanic(t, fmt.Sprint("Truncate ", n), func() { other.Truncate(n) })
		}
		other.Abort()
	}
}

// TestClaimsShareNothing fills many claims at once and from several goroutines.
func TestClaimsShareNothing(t *testing.T) {
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			backend := &claimBackend{}
			p := &Producer{backend: backend}
			for round := range 200 {
				var held []Claim
				for i := range 5 {
					c := claim(t, p, fmt.Appendf(nil, "%d/%d/%d", g, round, i), 1+i*300)
					for j := range c.Bytes() {
						c.Bytes()[j] = byte(g*50 + i)
					}
					held = append(held, c)
				}
				held[round%5].Abort()
				held = slices.Delete(held, round%5, round%5+1)
				for i := range held {
					if err := held[i].Publish(); err != nil {
						t.Error(err)
					}
				}
			}
			for _, m := range backend.got {
				var owner, round, i int
				_, _ = fmt.Sscanf(string(m.Key), "%d/%d/%d", &owner, &round, &i) // the checks below tell
				want := bytes.Repeat([]byte{byte(g*50 + i)}, 1+i*300)
				if owner != g || !bytes.Equal(m.Value, want) {
					t.Errorf("goroutine %d published %s with a value of %d bytes of another", g, m.Key, len(m.Value))
				}
			}
		})
	}
	running.Wait()
}

// TestClaimKeepsNothing: buffers that were given back go when memory is needed, whatever their number.
func TestClaimKeepsNothing(t *testing.T) {
	p := &Producer{backend: &claimBackend{}}
	const claims = 64
	var freed sync.WaitGroup
	freed.Add(2 * claims)
	var held []Claim
	for i := range 2 * claims {
		c := claim(t, p, nil, 200<<10)
		runtime.AddCleanup(c.buffer, func(int) { freed.Done() }, 0)
		if held = append(held, c); i%2 == 0 {
			held[i].Abort()
		}
	}
	clear(held) // half were dropped
	done := make(chan struct{})
	go func() {
		defer close(done)
		freed.Wait()
	}()
	eventually(t, "every buffer is collected", func() bool {
		runtime.GC()
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

func TestRemoteClaimAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	p := producerOn(t, lean(t), "t")
	ctx, key := context.Background(), []byte("key")
	for _, size := range []int{16, 1000, 50_000} {
		if n := testing.AllocsPerRun(1000, func() {
			c, err := p.Claim(ctx, key, size)
			if err != nil {
				t.Fatal(err)
			}
			binary.LittleEndian.PutUint64(c.Bytes(), 42)
			if err := c.Publish(); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("a claim of %d bytes allocates %.0f times", size, n)
		}
	}
}

func TestRemoteClaim(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{Partitions: 2, MaxRecordBytes: 1000})
	bus, _ := f.client()
	p := producerOn(t, bus, "t", WithPartitioner(Manual))
	c := claim(t, p, nil, 7)
	copy(c.Bytes(), "claimed")
	c.Partition = 1
	if err := c.Publish(); err != nil || c.Receipt().Partition != 1 || c.Receipt().Offset != 0 {
		t.Errorf("Publish: %v, %+v", err, c.Receipt())
	}
	if got := f.values(topic.parts[1]); !slices.Equal(got, []string{"claimed"}) {
		t.Errorf("log has %q", got)
	}
	if _, err := p.Claim(t.Context(), nil, 1000); !errors.Is(err, ErrRecordTooLarge) {
		t.Errorf("1,000 bytes and the record's header: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Claim(t.Context(), nil, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
