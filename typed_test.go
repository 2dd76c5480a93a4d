package leat_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

type order struct {
	Symbol string   `json:"symbol"`
	Qty    int      `json:"qty"`
	Tags   []string `json:"tags,omitempty"`
}

// openTyped opens a bus with topic "orders" of one partition.
func openTyped(t *testing.T) *leat.Bus {
	t.Helper()
	cfg := leat.TopicConfig{Ack: leat.AckPage}
	bus, err := node.Open(t.Context(), t.TempDir(), node.WithTopic("orders", cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return bus
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || leat.HintFor(err) == "" {
		t.Errorf("%s: error %v, want %v with a hint", what, err, want)
	}
}

func TestTypedTopic(t *testing.T) {
	bus := openTyped(t)
	orders := leat.TopicOf[order](bus, "orders")
	sent := []order{{"ACME", 10, []string{"a"}}, {"BETA", 20, nil}, {"ACME", 30, []string{"b", "c"}}}
	r, err := orders.Publish(soon(t), sent[0].Symbol, sent[0])
	if err != nil || r.Offset != 0 || r.Topic != "orders" {
		t.Fatalf("Publish = %+v, %v", r, err)
	}
	answers := make(chan error, 2)
	for _, o := range sent[1:] {
		orders.PublishAsync(o.Symbol, o, func(_ leat.Receipt, err error) { answers <- err })
	}
	if err := orders.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	orders.PublishAsync("", order{}, nil) // a null key, and no answer
	sub, err := orders.Subscribe(leat.Group("g"), leat.From(leat.Earliest))
	if err != nil {
		t.Fatal(err)
	}
	var kept []order
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if len(kept) == len(sent) {
			if m.Key != nil {
				t.Errorf("an empty key is %q, want a null key", m.Key)
			}
			break
		}
		if want := sent[len(kept)].Symbol; string(m.Key) != want || m.Tombstone() {
			t.Errorf("key %q, tombstone %v; want %q", m.Key, m.Tombstone(), want)
		}
		kept = append(kept, m.Value)
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	}
	if fmt.Sprint(kept) != fmt.Sprint(sent) {
		t.Errorf("read %+v, want %+v: a value is made anew for each message", kept, sent)
	}
	if err := errors.Join(sub.Commit(soon(t)), sub.Close(), orders.Close(), orders.Close()); err != nil {
		t.Error(err)
	}
	_, err = orders.Publish(soon(t), "", order{})
	wantError(t, "Publish after Close", err, leat.ErrClosed)
}

// TestTypedDecodingErrors: what does not decode is named, can be acked, and does not end the loop.
func TestTypedDecodingErrors(t *testing.T) {
	bus := openTyped(t)
	raw, err := bus.Producer("orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{`{"symbol":"A"}`, `{"symbol":3,"qty":4}`, ``, `{"symbol":"B"}`} {
		if _, err := raw.Publish(soon(t), leat.Message{Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := raw.Publish(soon(t), leat.Message{Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	sub, err := leat.TopicOf[order](bus, "orders").Subscribe(leat.Group("g"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m, err := range sub.Messages(soon(t)) {
		line := fmt.Sprint(m.Offset, " ", m.Value.Symbol, m.Tombstone())
		if err != nil {
			wantError(t, line, err, leat.ErrCodec)
			place := fmt.Sprintf(`decode leat_test.order from topic "orders", partition 0, offset %d`, m.Offset)
			if !strings.Contains(err.Error(), place) || m.Value.Qty != 0 {
				t.Errorf("error %v with %+v, want %q in it and no value", err, m.Value, place)
			}
			line += " refused"
		}
		got = append(got, line)
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
		if len(got) == 5 {
			break
		}
	}
	want := "0 Afalse|1 false refused|2 false refused|3 Bfalse|4 true"
	if strings.Join(got, "|") != want {
		t.Errorf("read %q, want %q", strings.Join(got, "|"), want)
	}
	for m, err := range sub.Messages(canceled(t)) {
		t.Errorf("a loop whose context has ended yields %v, %v", m, err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// decimal is a codec of its own kind.
type decimal struct{}

func (decimal) Encode(v int) ([]byte, error) {
	if v < 0 {
		return nil, errors.New("below zero")
	}
	return strconv.AppendInt(nil, int64(v), 10), nil
}

func (decimal) Decode(src []byte) (int, error) { return strconv.Atoi(string(src)) }

func TestTypedCodec(t *testing.T) {
	bus := openTyped(t)
	numbers := leat.TopicOf(bus, "orders", leat.WithCodec(decimal{}),
		leat.WithProducer[int](leat.WithPartitioner(leat.Manual)))
	if _, err := numbers.Publish(soon(t), "", 42); err != nil {
		t.Fatal(err)
	}
	_, err := numbers.Publish(soon(t), "", -1)
	wantError(t, "Publish", err, leat.ErrCodec)
	if want := `encode int for topic "orders"`; !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q in it", err, want)
	}
	numbers.PublishAsync("", -1, nil)
	numbers.PublishAsync("", -1, func(_ leat.Receipt, asyncErr error) { err = asyncErr })
	wantError(t, "PublishAsync", err, leat.ErrCodec)
	sub, err := numbers.Subscribe(leat.From(leat.Earliest))
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range sub.Messages(soon(t)) {
		if err != nil || m.Value != 42 || string(m.Message.Value) != "42" {
			t.Errorf("read %v, %v", m.Value, err)
		}
		break
	}
}

// TestTypedOpensOneProducer: the first publish opens it, also when several come at once; a topic that is
// not there is not remembered as such.
func TestTypedOpensOneProducer(t *testing.T) {
	bus := openTyped(t)
	late := leat.TopicOf[int](bus, "late", leat.WithProducer[int](leat.WithAck(leat.AckPage)))
	_, err := late.Publish(soon(t), "", 1)
	wantError(t, "Publish to no topic", err, leat.ErrTopicNotFound)
	_, err = late.Subscribe()
	wantError(t, "Subscribe to no topic", err, leat.ErrTopicNotFound)
	if err := late.Flush(soon(t)); err != nil {
		t.Error(err)
	}
	if err := bus.CreateTopic(soon(t), "late", leat.TopicConfig{Ack: leat.AckPage}); err != nil {
		t.Fatal(err)
	}
	ctx := soon(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := late.Publish(ctx, "", i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	fake := &fakeBackend{}
	unused := leat.TopicOf[int](leat.NewBus(fake), "t")
	if err := unused.Close(); err != nil || fake.opened != 0 {
		t.Errorf("a topic that nobody published to opened %d producers, Close = %v", fake.opened, err)
	}
	_, err = unused.Publish(ctx, "", 1)
	wantError(t, "Publish after Close", err, leat.ErrClosed)
}
