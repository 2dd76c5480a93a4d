package httpdoor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// event is one block of a stream.
type event struct{ id, kind, data, comment string }

// listener reads a stream of events.
type listener struct {
	t      *testing.T
	lines  *bufio.Reader
	cancel func()
}

func (d *desk) listen(path string, headers ...string) *listener {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	d.t.Cleanup(cancel)
	request := must(http.NewRequestWithContext(ctx, "GET", d.url+path, nil))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
		text, _ := io.ReadAll(response.Body)
		d.t.Fatalf("%s %s %s", response.Status, kind, text)
	}
	d.t.Cleanup(func() { response.Body.Close() })
	return &listener{d.t, bufio.NewReader(response.Body), cancel}
}

// next gives the next block, io.EOF at the end.
func (l *listener) next() (e event, err error) {
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		if line == "\n" {
			return e, nil
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			e.comment = value
		}
	}
}

// message skips to the next message.
func (l *listener) message() (string, Message) {
	l.t.Helper()
	for {
		e, err := l.next()
		if err != nil {
			l.t.Fatal(err)
		}
		if e.data != "" && e.kind == "" {
			return e.id, decode[Message](l.t, e.data)
		}
	}
}

// TestEventsResume cuts the stream behind each message in turn: what follows comes once, over all partitions.
func TestEventsResume(t *testing.T) {
	d := open(t, Config{})
	for i := range 9 {
		d.publish("wide", leat.Message{Partition: int32(i % 3), Value: fmt.Append(nil, i)})
	}
	seen := map[string]int{}
	headers := []string{}
	path := "/v1/topics/wide/events?from=earliest"
	for range 9 {
		l := d.listen(path, headers...)
		id, m := l.message()
		l.cancel()
		seen[*m.Value]++
		headers = []string{"Last-Event-ID", id}
	}
	l := d.listen(path, headers...)
	first, err := l.next()
	if err == nil {
		first, err = l.next()
	}
	if err != nil || first.id != "0:3,1:3,2:3" || first.data != "" {
		t.Errorf("at the end %+v, %v", first, err)
	}
	d.publish("wide", leat.Message{Partition: 1, Value: []byte("live"), Key: []byte("k")})
	if id, m := l.message(); id != "0:3,1:4,2:3" || *m.Value != "live" || m.Offset != 3 || *m.Key != "k" {
		t.Errorf("live: %s %+v", id, m)
	}
	for value, n := range seen {
		if n != 1 {
			t.Errorf("message %s came %d times", value, n)
		}
	}
	if len(seen) != 9 {
		t.Errorf("seen %v", seen)
	}
}

// TestEventsStream: a heartbeat where nothing comes, many messages in order, and an end when the door closes.
func TestEventsStream(t *testing.T) {
	d := open(t, Config{})
	d.door.heartbeat = time.Millisecond
	l := d.listen("/v1/topics/t/events?partition=0")
	for {
		e, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.comment != "" {
			break
		}
	}
	long := strings.Repeat("x", 10<<10)
	p := must(d.bus.Producer("t"))
	for range 500 {
		p.PublishAsync(leat.Message{Value: []byte(long)}, nil)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range int64(500) {
		if _, m := l.message(); m.Offset != i || *m.Value != long {
			t.Fatalf("message %d is %d", i, m.Offset)
		}
	}
	if err := d.door.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := l.next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if d.door.streams.Load() != 0 {
		t.Error("a stream is left")
	}
}

// TestEventsTell: gaps, and why a stream ends.
func TestEventsTell(t *testing.T) {
	w := &recorded{header: http.Header{}}
	d := open(t, Config{})
	s := &eventStream{door: d.door, w: w, ctl: http.NewResponseController(w), at: must(parsePlaces("0:10"))}
	s.begin([]Gap{{0, 4, 10}})
	want := eventRetry + "id: 0:10\n\nevent: gap\ndata: {\"partition\":0,\"from\":4,\"to\":10}\n\n"
	if string(w.body) != want || s.failed {
		t.Errorf("%q; want %q", w.body, want)
	}
	if err := d.bus.CreateTopic(t.Context(), "gone", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	l := d.listen("/v1/topics/gone/events")
	if err := d.bus.DeleteTopic(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := l.next()
		if err == io.EOF {
			break // the subscription was closed without a word
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.kind == "problem" {
			if p := decode[Problem](t, e.data); p.Code != core.CodeTopicNotFound.String() {
				t.Errorf("%s", e.data)
			}
			break
		}
	}
	w.fails = true
	s.begin(nil)
	if !s.failed {
		t.Error("a write that fails does not end the stream")
	}
}

// recorded is an answer in memory.
type recorded struct {
	header http.Header
	body   []byte
	fails  bool
}

func (w *recorded) Header() http.Header { return w.header }
func (w *recorded) WriteHeader(int)     {}
func (w *recorded) Flush()              {}
func (w *recorded) Write(p []byte) (int, error) {
	if w.fails {
		return 0, io.ErrClosedPipe
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

func TestEventsRefuse(t *testing.T) {
	d := open(t, Config{})
	if err := d.bus.CreateTopic(t.Context(), "many", leat.TopicConfig{Partitions: eventPlaces + 1}); err != nil {
		t.Fatal(err)
	}
	for path, tt := range map[string]struct {
		status int
		code   core.Code
		part   string
	}{
		"no/events":               {404, core.CodeTopicNotFound, `"no"`},
		"t/events?from=now":       {400, core.CodeInvalidRequest, `"now"`},
		"t/events?from=0:9":       {416, core.CodeOffsetOutOfRange, "9"},
		"t/events?partition=1":    {404, core.CodePartitionUnknown, "1"},
		"t/events?partition=x":    {400, core.CodeInvalidRequest, `"x"`},
		"t/events?since=earliest": {400, core.CodeInvalidRequest, `"since"`},
		"many/events":             {422, core.CodeInvalidRequest, "give partition"},
	} {
		d.wants(d.call("GET", "/v1/topics/"+path, nil), path, tt.status, tt.code, tt.part)
	}
	d.wants(d.call("GET", "/v1/topics/t/events", nil, "Last-Event-ID", "x"), "id", 400,
		core.CodeInvalidRequest, `"x"`)
	d.door.limits.Streams = 0
	d.wants(d.call("GET", "/v1/topics/t/events", nil), "too many", 429, core.CodeLimited, "Streams")
}
