package httpdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// wsClient is a client of a WebSocket.
type wsClient struct {
	t    *testing.T
	conn *websocket.Conn
	ctx  context.Context
}

func (d *desk) dial(headers ...string) *wsClient {
	d.t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return d.dialWith(nil, h)
}

func (d *desk) dialWith(by *http.Client, h http.Header) *wsClient {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	d.t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, d.url+"/v1/ws", &websocket.DialOptions{HTTPClient: by, HTTPHeader: h})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(4 << 20)
	return &wsClient{d.t, conn, ctx}
}

func (c *wsClient) send(text string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *wsClient) next() SocketAnswer {
	c.t.Helper()
	_, text, err := c.conn.Read(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return decode[SocketAnswer](c.t, string(text))
}

// ask sends a request and gives its answer, which must be of this kind and the next thing that comes.
func (c *wsClient) ask(text, op string) SocketAnswer {
	c.t.Helper()
	c.send(text)
	a := c.next()
	if a.Op != op {
		c.t.Fatalf("%s: %+v; want %s", text, a, op)
	}
	return a
}

// message gives the message that comes next.
func (c *wsClient) message(value string) SocketAnswer {
	c.t.Helper()
	a := c.next()
	if m := decode[Message](c.t, string(a.Message)); a.Op != "message" || *m.Value != value {
		c.t.Fatalf("%+v %s; want the message %s", a, a.Message, value)
	}
	return a
}

// ended gives how the door ended the connection.
func (c *wsClient) ended() (websocket.StatusCode, string) {
	c.t.Helper()
	for {
		_, _, err := c.conn.Read(c.ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			return closed.Code, closed.Reason
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestSocket: publish, follow with credit, and go on at a cursor over another connection.
func TestSocket(t *testing.T) {
	d := open(t, Config{})
	c := d.dial()
	for i := range 3 {
		a := c.ask(fmt.Sprintf(`{"op":"publish","ref":%d,"topic":"wide","message":`+
			`{"partition":%d,"value":"%d","id":"i%d"}}`, i+1, i, i, i), "published")
		if a.Ref != int64(i+1) || a.Receipt.Partition != int32(i) || a.Receipt.Offset != 0 || a.Receipt.Duplicate {
			t.Errorf("published %+v %+v", a, a.Receipt)
		}
	}
	byID := func() SocketAnswer {
		return c.ask(`{"op":"publish","ref":9,"topic":"wide","ack":"page","message":{"value":"3","id":"x"}}`,
			"published")
	}
	if first, again := byID(), byID(); first.Receipt.Duplicate || !again.Receipt.Duplicate ||
		first.Receipt.Offset != again.Receipt.Offset || first.Receipt.Partition != again.Receipt.Partition {
		t.Errorf("by id: %+v, then %+v", first.Receipt, again.Receipt)
	}
	begun := c.ask(`{"op":"subscribe","ref":10,"sub":"all","topic":"wide","from":"earliest","credit":2}`,
		"subscribed")
	if begun.At != "0:0,1:0,2:0" || begun.Sub != "all" || begun.Ref != 10 {
		t.Errorf("subscribed %+v", begun)
	}
	values := map[string]bool{}
	at := ""
	take := func(c *wsClient) {
		t.Helper()
		a := c.next()
		m := decode[Message](t, string(a.Message))
		if a.Op != "message" || a.Sub != "all" || values[*m.Value] {
			t.Fatalf("%+v %s after %v", a, a.Message, values)
		}
		values[*m.Value] = true
		at = a.At
	}
	take(c)
	take(c)
	c.ask(`{"op":"ping","ref":11}`, "pong") // nothing comes without credit
	c.ask(`{"op":"credit","sub":"all","credit":1}`, "credited")
	take(c)
	other := d.dial()
	other.ask(`{"op":"subscribe","sub":"all","topic":"wide","from":"`+at+`"}`, "subscribed")
	take(other)
	if len(values) != 4 {
		t.Errorf("messages %v", values)
	}
	d.publish("wide", leat.Message{Partition: 1, Value: []byte("live")})
	other.message("live")
	other.ask(`{"op":"unsubscribe","sub":"all"}`, "unsubscribed")
	other.ask(`{"op":"subscribe","sub":"all","topic":"wide","partition":2}`, "subscribed")
}

// TestSocketGroup: a member acks, and another one goes on behind it.
func TestSocketGroup(t *testing.T) {
	d := open(t, Config{})
	for i := range 4 {
		d.publish("t", leat.Message{Value: fmt.Append(nil, i)})
	}
	join := func() *wsClient {
		c := d.dial()
		c.ask(`{"op":"subscribe","sub":"g","topic":"t","group":"work","credit":2}`, "subscribed")
		return c
	}
	refused := func(c *wsClient, text string) {
		t.Helper()
		if a := c.ask(text, "error"); a.Error.Code != core.CodeInvalidRequest.String() {
			t.Errorf("%s: %+v", text, a.Error)
		}
	}
	c := join()
	if a := c.message("0"); a.At != "" {
		t.Errorf("a cursor in a group: %+v", a)
	}
	c.message("1")
	refused(c, `{"op":"ack","sub":"g","partition":0,"offset":2}`)
	refused(c, `{"op":"ack","sub":"g","partition":1,"offset":0}`)
	refused(c, `{"op":"ack","sub":"g","partition":0,"offset":-1}`)
	refused(c, `{"op":"ack","sub":"g","offset":0}`)
	c.ask(`{"op":"ack","ref":5,"sub":"g","partition":0,"offset":0}`, "acked")
	c.ask(`{"op":"unsubscribe","sub":"g"}`, "unsubscribed")
	c = join()
	c.message("1")
	c.message("2")
	c.ask(`{"op":"ack","sub":"g","partition":0,"offset":2}`, "acked")
	_ = c.conn.Close(websocket.StatusNormalClosure, "done")
	waitFor(t, func() (string, bool) { return "", d.door.streams.Load() == 1 }) // the first one is open
	join().message("3")
}

// TestSocketRefuses: what a request may not say is told, and spoils nothing else.
func TestSocketRefuses(t *testing.T) {
	d := open(t, Config{})
	c := d.dial()
	c.ask(`{"op":"subscribe","sub":"a","topic":"t"}`, "subscribed")
	for name, tt := range map[string]struct {
		text string
		code core.Code
		part string
	}{
		"no JSON":       {`{`, core.CodeInvalidRequest, ""},
		"two documents": {`{"op":"ping"} {}`, core.CodeInvalidRequest, "follows"},
		"another field": {`{"op":"ping","x":1}`, core.CodeInvalidRequest, `"x"`},
		"no op":         {`{}`, core.CodeInvalidRequest, `""`},
		"another op":    {`{"op":"pull"}`, core.CodeInvalidRequest, `"pull"`},
		"no message":    {`{"op":"publish","topic":"t"}`, core.CodeInvalidRequest, "message"},
		"no value":      {`{"op":"publish","topic":"t","message":{}}`, core.CodeInvalidRequest, "value"},
		"no level": {`{"op":"publish","topic":"t","ack":"x","message":{"value":""}}`,
			core.CodeInvalidConfig, `"x"`},
		"no topic": {`{"op":"publish","topic":"no","message":{"value":""}}`, core.CodeTopicNotFound, `"no"`},
		"no topic by id": {`{"op":"publish","topic":"no","message":{"value":"","id":"i"}}`,
			core.CodeTopicNotFound, `"no"`},
		"no partition": {`{"op":"publish","topic":"t","message":{"value":"","partition":9}}`,
			core.CodePartitionUnknown, "9"},
		"no name of sub": {`{"op":"subscribe","topic":"t"}`, core.CodeInvalidRequest, "sub"},
		"the name twice": {`{"op":"subscribe","sub":"a","topic":"t"}`, core.CodeInvalidRequest, "open already"},
		"sub no topic":   {`{"op":"subscribe","sub":"b","topic":"no"}`, core.CodeTopicNotFound, `"no"`},
		"sub no group": {`{"op":"subscribe","sub":"b","topic":"t","group":"a b"}`, core.CodeInvalidName,
			"byte 1"},
		"no credit": {`{"op":"subscribe","sub":"b","topic":"t","credit":-1}`, core.CodeInvalidRequest, "-1"},
		"no start":  {`{"op":"subscribe","sub":"b","topic":"t","from":"x"}`, core.CodeInvalidRequest, "from"},
		"no start of a group": {`{"op":"subscribe","sub":"b","topic":"t","group":"g","from":"0:1"}`,
			core.CodeInvalidRequest, "from"},
		"a group's partition": {`{"op":"subscribe","sub":"b","topic":"t","group":"g","partition":0}`,
			core.CodeInvalidRequest, "partition"},
		"sub a partition below 0": {`{"op":"subscribe","sub":"b","topic":"t","partition":-1}`,
			core.CodeInvalidRequest, "-1"},
		"sub no partition": {`{"op":"subscribe","sub":"b","topic":"t","partition":1}`,
			core.CodePartitionUnknown, "1"},
		"credit of none": {`{"op":"credit","sub":"b","credit":1}`, core.CodeInvalidRequest, `"b"`},
		"nothing of it":  {`{"op":"credit","sub":"a"}`, core.CodeInvalidRequest, "credit"},
		"too much of it": {`{"op":"credit","sub":"a","credit":1048576}`, core.CodeInvalidRequest, "credit"},
		"more than a number": {`{"op":"credit","sub":"a","credit":9223372036854775807}`, core.CodeInvalidRequest,
			"credit"},
		"ack of none":     {`{"op":"ack","sub":"b"}`, core.CodeInvalidRequest, `"b"`},
		"ack of no group": {`{"op":"ack","sub":"a","partition":0,"offset":0}`, core.CodeInvalidRequest, "group"},
		"end of none":     {`{"op":"unsubscribe","sub":"b"}`, core.CodeInvalidRequest, `"b"`},
	} {
		a := c.ask(tt.text, "error")
		if a.Error.Code != tt.code.String() || !strings.Contains(a.Error.Detail, tt.part) {
			t.Errorf("%s: %+v; want %v with %s", name, a.Error, tt.code, tt.part)
		}
	}
	for i := range socketSubs - 1 {
		c.ask(fmt.Sprintf(`{"op":"subscribe","sub":"s%d","topic":"t"}`, i), "subscribed")
	}
	if a := c.ask(`{"op":"subscribe","sub":"more","topic":"t"}`, "error"); a.Error.Code !=
		core.CodeLimited.String() {
		t.Errorf("one more: %+v", a.Error)
	}
}

// TestSocketOpens: what makes no WebSocket is a problem like others.
func TestSocketOpens(t *testing.T) {
	d := open(t, Config{Limits: Limits{Streams: 1}})
	upgrade := func(pairs ...string) []string {
		return append([]string{"Connection", "keep-alive, Upgrade", "Upgrade", "websocket"}, pairs...)
	}
	for name, tt := range map[string]struct {
		headers []string
		status  int
		code    core.Code
		part    string
	}{
		"no upgrade": {nil, 426, core.CodeInvalidRequest, "Upgrade"},
		"no version": {upgrade(), 400, core.CodeInvalidRequest, "Version"},
		"no key":     {upgrade("Sec-WebSocket-Version", "13"), 400, core.CodeInvalidRequest, "Key"},
		"a short key": {upgrade("Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "YQ=="), 400,
			core.CodeInvalidRequest, "Key"},
		"another site": {upgrade("Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==",
			"Origin", "https://evil.example"), 403, core.CodeDenied, "evil.example"},
	} {
		d.wants(d.call("GET", "/v1/ws", nil, tt.headers...), name, tt.status, tt.code, tt.part)
	}
	c := d.dial("Origin", "http://"+d.door.Addr().String())
	d.wants(d.call("GET", "/v1/ws", nil, upgrade("Sec-WebSocket-Version", "13", "Sec-WebSocket-Key",
		"AAAAAAAAAAAAAAAAAAAAAA==")...), "one too many", 429, core.CodeLimited, "Limits.Streams")
	if err := c.conn.Write(c.ctx, websocket.MessageBinary, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if code, reason := c.ended(); code != websocket.StatusUnsupportedData || reason != "want text frames" {
		t.Errorf("binary: %v %q", code, reason)
	}
	waitFor(t, func() (string, bool) { return "", d.door.streams.Load() == 0 })
	c = d.dial()
	c.send(`{"op":"ping","sub":"` + strings.Repeat("x", socketBytes) + `"}`)
	if code, _ := c.ended(); code != websocket.StatusMessageTooBig {
		t.Errorf("a large frame: %v", code)
	}
}

// TestSocketScopes: each request is looked at by itself.
func TestSocketScopes(t *testing.T) {
	tokens := must(core.ParseTokens("w " + core.HashToken("w") + " publish:t\n" +
		"r " + core.HashToken("r") + " read:t\n"))
	d := open(t, Config{Tokens: tokens.Principal})
	if _, _, err := websocket.Dial(t.Context(), d.url+"/v1/ws", nil); err == nil {
		t.Error("without a token")
	}
	publish, subscribe := `{"op":"publish","topic":"t","message":{"value":"x"}}`,
		`{"op":"subscribe","sub":"a","topic":"t"}`
	w := d.dial("Authorization", "Bearer w")
	w.ask(publish, "published")
	r := d.dial("Authorization", "Bearer r")
	r.ask(subscribe, "subscribed")
	for name, a := range map[string]SocketAnswer{"to publish": r.ask(publish, "error"),
		"to read":              w.ask(subscribe, "error"),
		"to publish elsewhere": w.ask(strings.Replace(publish, `"t"`, `"wide"`, 1), "error")} {
		if a.Error.Code != core.CodeDenied.String() || a.Error.Status != 403 {
			t.Errorf("%s: %+v", name, a.Error)
		}
	}
}

// TestSocketEnds: with the topic, which a subscription is told; and with the door.
func TestSocketEnds(t *testing.T) {
	d := open(t, Config{})
	c := d.dial()
	c.ask(`{"op":"publish","topic":"t","message":{"value":"x"}}`, "published")
	c.ask(`{"op":"subscribe","sub":"a","topic":"t"}`, "subscribed")
	if err := d.bus.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if a := c.next(); a.Op != "ended" || a.Sub != "a" || a.Error.Code != core.CodeTopicNotFound.String() {
		t.Errorf("a topic that is gone: %+v", a)
	}
	if err := d.bus.CreateTopic(t.Context(), "t", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	c.send(`{"op":"publish","topic":"t","message":{"value":"y"}}`) // by a producer of the topic that was
	c.next()
	c.ask(`{"op":"publish","topic":"t","message":{"value":"y"}}`, "published")
	closed := make(chan error, 1)
	go func() { closed <- d.door.Close() }()
	if code, reason := c.ended(); code != websocket.StatusGoingAway || reason != "the node drains" {
		t.Errorf("a door that closes: %v %q", code, reason)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// lineWriter hands lines of a log on.
type lineWriter chan string

// Write implements io.Writer.
func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// TestSocketSlow: a client that takes nothing is cut off, and told why if it looks.
func TestSocketSlow(t *testing.T) {
	told := make(chan string, 100)
	d := open(t, Config{Logger: slog.New(slog.NewTextHandler(lineWriter(told), nil))})
	d.door.heartbeat, d.door.pongWait = time.Second, time.Second
	value := strings.Repeat("x", 900<<10)
	for range 16 {
		d.publish("t", leat.Message{Value: []byte(value)})
	}
	c := d.dialNarrow()
	c.send(`{"op":"subscribe","sub":"a","topic":"t","from":"earliest"}`)
	for line := ""; !strings.Contains(line, "does not read"); {
		select {
		case line = <-told:
		case <-c.ctx.Done():
			t.Fatal("nobody noticed")
		}
	}
	code, reason := c.ended()
	if code != websocket.StatusPolicyViolation || !strings.Contains(reason, "does not read") {
		t.Errorf("it ended with %v %q", code, reason)
	}
}

// dialNarrow gives a client with little room for what it does not read.
func (d *desk) dialNarrow() *wsClient {
	d.t.Helper()
	return d.dialWith(&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network,
		address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(256 << 10)
		}
		return conn, err
	}}}, nil)
}

// TestSocketFlood: a client that asks and asks, takes nothing and goes leaves nothing behind, although the
// door waits for a place for its next request.
func TestSocketFlood(t *testing.T) {
	d := open(t, Config{})
	c := d.dialNarrow()
	text := []byte(`{"op":"ping","sub":"` + strings.Repeat("x", 8<<10) + `"}`)
	for n, err := 0, error(nil); err == nil; n++ {
		if n > 100_000 {
			t.Fatal("the door takes whatever comes")
		}
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		err = c.conn.Write(ctx, websocket.MessageText, text) // what does not pass ends the connection
		cancel()
	}
	waitFor(t, func() (string, bool) { return "it is served still", d.door.streams.Load() == 0 })
}

// TestSocketSlowBus: no pong is seen while the bus keeps the reader, which is no reason to cut a client off.
func TestSocketSlowBus(t *testing.T) {
	d := open(t, Config{})
	d.door.pongWait = 300 * time.Millisecond
	accepted := make(chan *websocket.Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}))
	defer server.Close()
	client, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseNow() // it is dead: it answers nothing
	conn := <-accepted
	defer conn.CloseNow()
	for name, tt := range map[string]struct {
		reads   int64
		writing bool
		dead    bool
	}{
		"the reader does a request":  {2, false, false},
		"the reader waits":           {3, false, true},
		"the writer waits":           {2, true, true},
		"the reader and writer wait": {3, true, true},
	} {
		s := &socket{door: d.door, conn: conn, ctx: t.Context()}
		s.reads.Store(tt.reads)
		s.writing.Store(tt.writing)
		if err := s.pinged(); (err != nil) != tt.dead {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSocketToken: a connection ends when its token is gone or may do something else, and not before.
func TestSocketToken(t *testing.T) {
	named := func(scopes string) *core.Tokens {
		return must(core.ParseTokens("w " + core.HashToken("w") + " " + scopes + "\n"))
	}
	none := must(core.ParseTokens(""))
	for name, after := range map[string]*core.Tokens{"gone": none, "other": named("read:t")} {
		var now atomic.Pointer[core.Tokens]
		now.Store(named("publish:t"))
		d := open(t, Config{Tokens: func(secret string) *core.Principal { return now.Load().Principal(secret) }})
		d.door.heartbeat = 10 * time.Millisecond
		c := d.dial("Authorization", "Bearer w")
		for range 20 { // with pings between, as a rule
			c.ask(`{"op":"publish","topic":"t","message":{"value":"x"}}`, "published")
		}
		now.Store(after)
		code, reason := c.ended()
		if code != websocket.StatusPolicyViolation || !strings.Contains(reason, "token") {
			t.Errorf("%s: it ended with %v %q", name, code, reason)
		}
	}
}

// FuzzSocketRequest: no frame makes the door stumble, and what follows a document is not overlooked.
func FuzzSocketRequest(f *testing.F) {
	for _, text := range []string{`{"op":"ping","ref":1}`, `{"op":"ping"} x`, `{`, "", "null"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseSocketRequest([]byte(text)); err == nil && !json.Valid([]byte(text)) {
			t.Errorf("parseSocketRequest takes %q", text)
		}
	})
}
