package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// respond answers requests until the test ends.
func respond(t *testing.T, bus *leat.Bus, topic string, handler leat.Handler,
	options ...leat.RespondOption) *leat.Responder {
	t.Helper()
	r, err := bus.Respond(topic, handler, options...)
	if err != nil {
		t.Fatalf("Respond(%s): %v", topic, err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Responder.Close: %v", err)
		}
	})
	return r
}

// ask makes a request until it is answered or refused for good: on a bad line connections come and go.
func ask(t *testing.T, c *carrier, topic string, m leat.Message) (leat.Message, error) {
	t.Helper()
	for ctx := soon(t); ; {
		reply, err := c.bus.Request(ctx, topic, m)
		if !c.cuts || !lostOnTheWay(err) || ctx.Err() != nil {
			return reply, err
		}
	}
}

func lostOnTheWay(err error) bool {
	return errors.Is(err, leat.ErrUnavailable) || errors.Is(err, leat.ErrNoResponders) ||
		errors.Is(err, leat.ErrResponderLost)
}

var _ = register("requests are answered by one of the responders", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	_, err := c.bus.Request(soon(t), topic, leat.Message{})
	if !errors.Is(err, leat.ErrNoResponders) && !c.cuts {
		t.Errorf("without a responder: %v", err)
	}
	for i := range 3 {
		respond(t, c.dial(t), topic, func(_ context.Context, m *leat.Message) (leat.Message, error) {
			if m.Topic != topic {
				t.Errorf("a request on %q, want %q", m.Topic, topic)
			}
			return leat.Message{Key: m.Key, Value: append(m.Value, '!'),
				Headers: append(m.Headers, leat.Header{Key: "by", Value: fmt.Append(nil, i)})}, nil
		})
	}
	var asking sync.WaitGroup
	for i := range 60 {
		asking.Go(func() {
			m := leat.Message{Value: fmt.Append(nil, i), Headers: []leat.Header{{Key: "n", Value: []byte("1")}}}
			if i%3 > 0 {
				m.Key = fmt.Append(nil, "k", i)
			}
			reply, err := ask(t, c, topic, m)
			if err != nil || string(reply.Value) != fmt.Sprint(i, "!") || !bytes.Equal(reply.Key, m.Key) ||
				(reply.Key == nil) != (m.Key == nil) || len(reply.Headers) != 2 || reply.Headers[0].Key != "n" {
				t.Errorf("request %d: %+v, %v", i, reply, err)
			}
		})
	}
	asking.Wait()
	if info, err := c.bus.Topic(soon(t), topic); err != nil || info.Partitions[0].End != 0 {
		t.Errorf("the log of the topic: %+v, %v; want nothing in it", info, err)
	}
})

var _ = register("a request to all gets a reply of each responder", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 5, Ack: leat.AckPage})
	many := func(n int) ([]leat.Message, error) {
		for ctx := soon(t); ; {
			replies, err := c.bus.RequestMany(ctx, topic, leat.Message{Value: []byte("who")}, n)
			if !c.cuts || !lostOnTheWay(err) || ctx.Err() != nil {
				return replies, err
			}
		}
	}
	_, err := c.bus.RequestMany(soon(t), topic, leat.Message{}, 2)
	if !errors.Is(err, leat.ErrNoResponders) && !c.cuts {
		t.Errorf("without a responder: %v", err)
	}
	var handled [3]atomic.Int64
	for i := range handled {
		respond(t, c.dial(t), topic, func(context.Context, *leat.Message) (leat.Message, error) {
			handled[i].Add(1)
			return leat.Message{Value: fmt.Append(nil, i)}, nil
		})
	}
	replies, err := many(0)
	names := map[string]bool{}
	for _, m := range replies {
		names[string(m.Value)] = true
	}
	if err != nil || !c.cuts && (len(replies) != 3 || len(names) != 3) {
		t.Errorf("all: %d replies, %v; want one of each", len(replies), err)
	}
	for i := range handled {
		if n := handled[i].Load(); n != 1 && !c.cuts {
			t.Errorf("responder %d has handled one request %d times", i, n)
		}
	}
	if replies, err = many(2); err != nil || len(replies) != 2 && !c.cuts {
		t.Errorf("two: %d replies, %v", len(replies), err)
	}
	respond(t, c.bus, topic, func(context.Context, *leat.Message) (leat.Message, error) {
		return leat.Message{}, errors.New("no idea")
	})
	if replies, err = many(0); !c.cuts && (!errors.Is(err, leat.ErrRequestFailed) || len(replies) != 3) {
		t.Errorf("with one that fails: %d replies, %v; want 3 and its error", len(replies), err)
	}
	if _, err := c.bus.RequestMany(soon(t), topic, leat.Message{}, -1); !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("RequestMany(-1): %v", err)
	}
})

var _ = register("requests fail as their responder, or with their context", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 4096})
	release := make(chan struct{}) // so that no reply overtakes the end of a context
	defer close(release)
	respond(t, c.dial(t), topic, func(ctx context.Context, m *leat.Message) (leat.Message, error) {
		switch string(m.Value) {
		case "fail":
			return leat.Message{}, errors.New("no such thing")
		case "panic":
			panic("a bug")
		case "large":
			return leat.Message{Value: make([]byte, 5000)}, nil
		case "wait":
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the deadline does not come with the request")
			}
			<-ctx.Done()
			<-release
		}
		return leat.Message{Value: m.Value}, nil
	})
	for value, want := range map[string]error{"fail": leat.ErrRequestFailed, "panic": leat.ErrRequestFailed,
		"large": leat.ErrRecordTooLarge} {
		if _, err := ask(t, c, topic, leat.Message{Value: []byte(value)}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", value, err, want)
		}
	}
	for name, m := range map[string]leat.Message{"TTL": {TTL: 1e9}, "ID": {ID: "x"}, "Delay": {Delay: 1e9},
		"DeliverAt": {DeliverAt: time.Now()}} {
		if _, err := c.bus.Request(soon(t), topic, m); !errors.Is(err, leat.ErrInvalidRecord) {
			t.Errorf("with %s: %v", name, err)
		}
	}
	_, err := ask(t, c, topic, leat.Message{Value: make([]byte, 5000)})
	if !errors.Is(err, leat.ErrRecordTooLarge) {
		t.Errorf("a large request: %v", err)
	}
	if _, err := c.bus.Request(soon(t), "nope", leat.Message{}); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("on a topic that is not there: %v", err)
	}
	if _, err := c.bus.Respond("nope", nil); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("Respond on a topic that is not there: %v", err)
	}
	if _, err := c.bus.Respond(topic, nil, leat.Concurrency(0)); !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("Concurrency(0): %v", err)
	}
	if c.cuts {
		return // a connection that is cut ends a request earlier
	}
	ctx, cancel := context.WithCancel(soon(t))
	waiting := make(chan error, 1)
	go func() {
		_, err := c.bus.Request(ctx, topic, leat.Message{Value: []byte("wait")})
		waiting <- err
	}()
	if _, err := c.bus.Request(soon(t), topic, leat.Message{Value: []byte("x")}); err != nil {
		t.Errorf("beside one that waits: %v", err)
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	brief, stop := context.WithTimeout(soon(t), 200e6) // time enough to ask
	defer stop()
	if _, err := c.bus.Request(brief, topic, leat.Message{Value: []byte("wait")}); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("too late: %v", err)
	}
	if _, err := c.bus.Request(soon(t), topic, leat.Message{Value: []byte("x")}); err != nil {
		t.Errorf("after it: %v", err)
	}
})

var _ = register("a responder that closes answers what it has", func(t *testing.T, c *carrier) {
	if c.cuts {
		t.Skip("a cut ends what is under way")
	}
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	began, goOn := make(chan struct{}, 10), make(chan struct{})
	r := respond(t, c.dial(t), topic, func(_ context.Context, m *leat.Message) (leat.Message, error) {
		began <- struct{}{}
		<-goOn
		return *m, nil
	}, leat.Concurrency(1))
	first, second := make(chan error, 1), make(chan error, 1)
	request := func(done chan error) {
		_, err := c.bus.Request(soon(t), topic, leat.Message{Value: []byte("x")})
		done <- err
	}
	go request(first)
	<-began
	go request(second) // it waits at the node, or is refused if it comes later
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	if err := <-second; !errors.Is(err, leat.ErrNoResponders) {
		t.Errorf("what waited: %v, want that there is nobody any more", err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("what was under way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := r.Err(); err != nil {
		t.Errorf("Err after Close: %v", err)
	}
})

var _ = register("a responder ends with its topic", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	ended := make(chan error, 1)
	r := respond(t, c.bus, topic, func(context.Context, *leat.Message) (leat.Message, error) {
		return leat.Message{}, nil
	})
	err := c.bus.DeleteTopic(soon(t), topic)
	for c.cuts && errors.Is(err, leat.ErrUnavailable) {
		err = c.bus.DeleteTopic(soon(t), topic)
	}
	if err != nil && !c.cuts {
		t.Fatal(err)
	}
	go func() {
		<-r.Done()
		ended <- r.Err()
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, leat.ErrTopicNotFound) {
			t.Errorf("it ended with %v", err)
		}
	case <-soon(t).Done():
		t.Fatal("it goes on")
	}
})
