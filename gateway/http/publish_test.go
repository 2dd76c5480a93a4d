package httpdoor

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// TestPublish: what becomes of a body and its headers.
func TestPublish(t *testing.T) {
	header := func(pairs ...string) (all []leat.Header) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, leat.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return all
	}
	for name, tt := range map[string]struct {
		path    string
		body    io.Reader
		headers []string
		want    leat.Message
	}{
		"a body": {"", strings.NewReader("v"), nil, leat.Message{Value: []byte("v")}},
		"bytes": {"", strings.NewReader("\xff\x00"), []string{"Leat-Key-Base64", "/wA="},
			leat.Message{Key: []byte("\xff\x00"), Value: []byte("\xff\x00")}},
		"nothing": {"", nil, []string{"Leat-Key", ""}, leat.Message{Key: []byte{}, Value: []byte{}}},
		"a tombstone": {"", nil, []string{"Leat-Key", "k", "Leat-Tombstone", "true"},
			leat.Message{Key: []byte("k")}},
		"no tombstone": {"", nil, []string{"Leat-Tombstone", "false"}, leat.Message{Value: []byte{}}},
		"a form": {"", strings.NewReader("a=b"), []string{"Content-Type",
			"application/x-www-form-urlencoded"}, leat.Message{Value: []byte("a=b")}},
		"JSON": {"", strings.NewReader("{}"), []string{"Content-Type", "application/json; charset=utf-8",
			"Leat-H-B", "2",
			"Leat-H-a", "1", "Leat-H-A", "3"}, leat.Message{Value: []byte("{}"),
			Headers: header("content-type", "application/json; charset=utf-8", "a", "1", "a", "3", "b", "2")}},
		"gzip": {"?ack=page", zipped("text"), []string{"Content-Encoding", "gzip"},
			leat.Message{Value: []byte("text")}},
		"a partition": {"?partition=2", strings.NewReader("p"), []string{"Leat-Key", "k"},
			leat.Message{Key: []byte("k"), Value: []byte("p"), Partition: 2}},
		"no length": {"", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 100_000))}, nil,
			leat.Message{Value: []byte(strings.Repeat("x", 100_000))}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, Config{})
			got := d.call("POST", "/v1/topics/wide/messages"+tt.path, tt.body, tt.headers...)
			if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s %s", got.status, got.header, got.body)
			}
			m := d.published("wide", 1)[0]
			receipt := decode[Receipt](t, got.body)
			if receipt.Topic != "wide" || receipt.Partition != m.Partition || receipt.Offset != 0 ||
				!receipt.Time.Equal(m.Time) || receipt.Duplicate {
				t.Errorf("receipt %s of %+v", got.body, m)
			}
			if tt.want.Partition == 0 {
				tt.want.Partition = m.Partition
			}
			if !reflect.DeepEqual(m.Key, tt.want.Key) || !reflect.DeepEqual(m.Value, tt.want.Value) ||
				m.Partition != tt.want.Partition || len(m.Headers) != len(tt.want.Headers) ||
				len(m.Headers) > 0 && !reflect.DeepEqual(m.Headers, tt.want.Headers) {
				t.Errorf("message %+v; want %+v", m, tt.want)
			}
		})
	}
}

func TestPublishRefuses(t *testing.T) {
	d := open(t, Config{})
	text := func() io.Reader { return strings.NewReader("x") }
	for name, tt := range map[string]struct {
		path    string
		body    io.Reader
		headers []string
		status  int
		code    core.Code
		part    string
	}{
		"no topic":          {"no/messages", text(), nil, 404, core.CodeTopicNotFound, `"no"`},
		"no name":           {"a%20b/messages", text(), nil, 422, core.CodeInvalidName, "byte 1"},
		"an internal topic": {"__meta/messages", text(), nil, 422, core.CodeInvalidName, "__"},
		"no partition":      {"t/messages?partition=1", text(), nil, 404, core.CodePartitionUnknown, "1"},
		"a bad partition":   {"t/messages?partition=-1", text(), nil, 400, core.CodeInvalidRequest, "partition"},
		"a bad level":       {"t/messages?ack=all", text(), nil, 422, core.CodeInvalidConfig, `"all"`},
		"a level too high":  {"t/messages?ack=quorum", text(), nil, 422, core.CodeLevelUnavailable, "quorum"},
		"no parameter":      {"t/messages?akc=page", text(), nil, 400, core.CodeInvalidRequest, `"akc"`},
		"twice":             {"t/messages?ack=page&ack=page", text(), nil, 400, core.CodeInvalidRequest, "twice"},
		"no query":          {"t/messages?ack=%zz", text(), nil, 400, core.CodeInvalidRequest, "%zz"},
		"two keys": {"t/messages", text(), []string{"Leat-Key", "a", "Leat-Key-Base64", "YQ=="}, 400,
			core.CodeInvalidRequest, "one of them"},
		"no base64": {"t/messages", text(), []string{"Leat-Key-Base64", "a"}, 400, core.CodeInvalidRequest,
			`"a"`},
		"no tombstone": {"t/messages", nil, []string{"Leat-Tombstone", "1"}, 400, core.CodeInvalidRequest, `"1"`},
		"tombstone and body": {"t/messages", text(), []string{"Leat-Tombstone", "true"}, 400,
			core.CodeInvalidRequest,
			"1 bytes"},
		"no name of a header": {"t/messages", text(), []string{"Leat-H-", "x"}, 400, core.CodeInvalidRequest,
			"empty"},
		"a header of ours": {"t/messages", text(), []string{"Leat-H-Leat-Dlq-Topic", "x"}, 422,
			core.CodeInvalidRecord, "leat-dlq-topic"},
		"a long key": {"t/messages", text(), []string{"Leat-Key", strings.Repeat("k", 33<<10)}, 422,
			core.CodeInvalidRecord, "key"},
		"too large for the topic": {"t/messages", strings.NewReader(strings.Repeat("x", 2<<20)), nil, 413,
			core.CodeRecordTooLarge, "2097"},
		"an encoding": {"t/messages", text(), []string{"Content-Encoding", "br"}, 415, core.CodeInvalidRequest,
			`"br"`},
		"no gzip": {"t/messages", strings.NewReader("this is not what it says"), []string{"Content-Encoding",
			"gzip"}, 400, core.CodeInvalidRequest, "not gzip"},
		"half of gzip": {"t/messages", io.LimitReader(zipped("text"), 20), []string{"Content-Encoding", "gzip"},
			400,
			core.CodeInvalidRequest, ""},
		"receipts": {"t/messages?receipts=all", text(), nil, 400, core.CodeInvalidRequest, "receipts"},
		"lines at once": {"t/messages?partition=0", text(), []string{"Content-Type", ndjson}, 400,
			core.CodeInvalidRequest, "partition"},
		"no receipts": {"t/messages?receipts=x", text(), []string{"Content-Type", ndjson}, 400,
			core.CodeInvalidRequest, `"x"`},
		"lines nowhere": {"no/messages", text(), []string{"Content-Type", ndjson}, 404, core.CodeTopicNotFound,
			`"no"`},
		"lines in an encoding": {"t/messages", text(), []string{"Content-Type", ndjson, "Content-Encoding",
			"br"}, 415,
			core.CodeInvalidRequest, `"br"`},
	} {
		got := d.call("POST", "/v1/topics/"+tt.path, tt.body, tt.headers...)
		d.wants(got, name, tt.status, tt.code, tt.part)
	}
	info := decode[Topic](t, d.call("GET", "/v1/topics/t", nil).body)
	if info.Partitions[0].HighWater != 0 || d.door.pending.Load() != 0 || d.door.streams.Load() != 0 {
		t.Errorf("%+v, pending %d, streams %d", info, d.door.pending.Load(), d.door.streams.Load())
	}
}

// TestPublishHalf: a client that goes in the middle of a body has published nothing.
func TestPublishHalf(t *testing.T) {
	d := open(t, Config{})
	conn, err := net.Dial("tcp", d.door.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn,
		"POST /v1/topics/t/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(text), "it ended too early") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestPublishUnanswered(t *testing.T) {
	d := open(t, Config{})
	got := d.call("POST", "/v1/topics/t/messages?ack=none", strings.NewReader("x"))
	receipt := decode[Receipt](t, got.body)
	if got.status != http.StatusAccepted || receipt.Offset != -1 || !receipt.Time.IsZero() {
		t.Errorf("%d %s; want 202 without an offset", got.status, got.body)
	}
	if m := d.published("t", 1)[0]; string(m.Value) != "x" {
		t.Errorf("published %q", m.Value)
	}
}

// TestTopicMadeAnew: the producer that the door keeps is of a topic that is no more.
func TestTopicMadeAnew(t *testing.T) {
	d := open(t, Config{})
	for range 2 {
		got := d.call("POST", "/v1/topics/t/messages", strings.NewReader("x"))
		if receipt := decode[Receipt](t, got.body); got.status != http.StatusOK || receipt.Offset != 0 {
			t.Errorf("%d %s; want offset 0", got.status, got.body)
		}
		err := errors.Join(d.bus.DeleteTopic(t.Context(), "t"), d.bus.CreateTopic(t.Context(), "t",
			leat.TopicConfig{}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.bus.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	got := d.call("POST", "/v1/topics/t/messages", strings.NewReader("x"))
	d.wants(got, "deleted", http.StatusNotFound, core.CodeTopicNotFound)
}

// TestProducers: those in use stay, the others go when there are too many, and all when the door closes.
func TestProducers(t *testing.T) {
	d := open(t, Config{})
	p := newProducers(d.bus)
	p.most = 2
	key := func(ack leat.Ack) producerKey { return producerKey{topic: "t", ack: ack} }
	a := must(p.take(key(leat.AckDefault)))
	if again := must(p.take(key(leat.AckDefault))); again != a {
		t.Error("two producers for one key")
	} else {
		p.give(again, nil)
	}
	b := must(p.take(key(leat.AckPage)))
	p.give(b, nil)
	c := must(p.take(key(leat.AckDisk)))
	if len(p.open) != 2 || p.open[key(leat.AckPage)] != nil {
		t.Errorf("open: %v; want the idle one gone", p.open)
	}
	if _, err := b.producer.Publish(t.Context(), leat.Message{}); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("the idle one is not closed: %v", err)
	}
	p.give(c, leat.ErrTopicNotFound)
	if other := must(p.take(key(leat.AckDisk))); other == c {
		t.Error("a spoilt producer is given out")
	} else {
		p.give(other, nil)
	}
	p.close()
	if _, err := a.producer.Publish(t.Context(), leat.Message{}); err != nil {
		t.Errorf("closed under its user: %v", err)
	}
	p.give(a, nil)
	if _, err := a.producer.Publish(t.Context(), leat.Message{}); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("not closed by its last user: %v", err)
	}
	if _, err := p.take(key(leat.AckDefault)); !errors.Is(err, leat.ErrDraining) {
		t.Errorf("taken after close: %v", err)
	}
	late, surplus := p.add(&shared{key: key(leat.AckPage), producer: must(p.openProducer(key(leat.AckPage)))})
	if len(surplus) > 0 || !late.gone {
		t.Errorf("one that was opened while the door closed: %+v", late)
	}
	p.give(late, nil)
}

func TestReceipt(t *testing.T) {
	d := open(t, Config{})
	r := d.publish("t", leat.Message{})
	r.Duplicate = true
	r.Handle = "d1.x"
	got := decode[Receipt](t, string(appendReceipt(nil, &r)))
	want := Receipt{r.Topic, r.Partition, r.Offset, r.Time, true, "d1.x"}
	if string(must(json.Marshal(got))) != string(must(json.Marshal(want))) {
		t.Errorf("receipt %+v; want %+v", got, want)
	}
}
