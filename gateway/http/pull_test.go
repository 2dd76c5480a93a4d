package httpdoor

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// pulledPage is the answer of a pull.
type pulledPage struct {
	Messages []PulledMessage `json:"messages"`
}

// resultPage is the answer to tokens.
type resultPage struct {
	Done    int           `json:"done"`
	Failed  int           `json:"failed"`
	Results []TokenResult `json:"results"`
}

const work = "/v1/topics/wide/groups/work/"

func (d *desk) pull(query string) []PulledMessage {
	d.t.Helper()
	got := d.call("POST", work+"pull?"+query, nil)
	if got.status != http.StatusOK {
		d.t.Fatalf("pull: %d %s", got.status, got.body)
	}
	return decode[pulledPage](d.t, got.body).Messages
}

// answer sends tokens, with more fields of the body.
func (d *desk) answer(verb, fields string, tokens ...string) resultPage {
	d.t.Helper()
	body := `{"tokens":` + string(must(json.Marshal(tokens))) + fields + "}"
	got := d.call("POST", work+verb, strings.NewReader(body), "Content-Type", "application/json")
	if got.status != http.StatusOK {
		d.t.Fatalf("%s: %d %s", verb, got.status, got.body)
	}
	page := decode[resultPage](d.t, got.body)
	if len(page.Results) != len(tokens) || page.Done+page.Failed != len(tokens) {
		d.t.Fatalf("%s of %d tokens: %s", verb, len(tokens), got.body)
	}
	return page
}

// said fails unless each token has this code, 0 for done.
func (d *desk) said(what string, page resultPage, codes ...core.Code) {
	d.t.Helper()
	for i, code := range codes {
		r := page.Results[i]
		switch {
		case code == 0:
			if !r.OK || r.Error != nil {
				d.t.Errorf("%s, token %d: %+v", what, i, r.Error)
			}
		case r.OK || r.Error == nil || r.Error.Code != code.String() || r.Error.Status != statuses[code]:
			d.t.Errorf("%s, token %d: %+v; want %v", what, i, r, code)
		}
	}
}

// TestPullHTTP: what is pulled is answered by its token, at any door of the key.
func TestPullHTTP(t *testing.T) {
	key := []byte(strings.Repeat("k", LoanKeyBytes))
	d := open(t, Config{LoanKey: key})
	for i := range 6 {
		d.publish("wide", leat.Message{Partition: int32(i % 3), Key: []byte("k"), Value: fmt.Append(nil, i),
			ID: fmt.Sprint("id", i)})
	}
	if list := d.pull("max=2&lease=3600"); len(list) != 2 || list[0].Attempt != 1 || list[0].Topic != "wide" ||
		list[0].Value == nil || list[0].ID != "id"+*list[0].Value || list[0].Token == list[1].Token {
		t.Fatalf("pulled %+v", list)
	} else {
		d.said("ack", d.answer("ack", "", list[0].Token), 0)
		d.said("again", d.answer("ack", "", list[0].Token, list[1].Token), core.CodeStaleAck, 0)
	}
	list := d.pull("mode=queue")
	if len(list) != 4 {
		t.Fatalf("pulled %+v", list)
	}
	other, err := Open(d.bus, Config{Listen: "127.0.0.1:0", LoanKey: key})
	if err != nil {
		t.Fatal(err)
	}
	second := &desk{t, d.bus, other, "http://" + other.Addr().String()}
	d.said("extend", d.answer("extend", "", list[0].Token), 0)
	second.said("another door", second.answer("nack", `,"delay_ms":0`, list[0].Token), 0)
	if err := other.Close(); err != nil { // what it lent, and was told, stays
		t.Error(err)
	}
	again := d.pull("wait=30")
	if len(again) != 1 || again[0].Attempt != 2 || again[0].Offset != list[0].Offset {
		t.Fatalf("after a nack: %+v", again)
	}
	d.said("reject", d.answer("reject", `,"reason":"no good"`, list[1].Token), 0)
	d.said("nack by the group's delay", d.answer("nack", "", list[2].Token), 0)
	d.said("ack of all", d.answer("ack", "", list[0].Token, list[1].Token, list[2].Token, list[3].Token,
		again[0].Token), core.CodeStaleAck, core.CodeStaleAck, core.CodeStaleAck, 0, 0)
	if last := d.pull("wait=30"); len(last) != 1 || last[0].Attempt != 2 {
		t.Errorf("after the other nack: %+v", last)
	}
	if list := d.pull(""); list == nil || len(list) > 0 {
		t.Errorf("nothing is %+v", list)
	}
	waitFor(t, func() (string, bool) {
		got := d.call("GET", "/api/v1/dead-letters/wide.dlq.work/messages", nil)
		return got.body, got.status == 200 && strings.Count(got.body, "no good") == 1
	})
}

// TestNackHTTPReason: the reason of the last attempt is that of the dead letter.
func TestNackHTTPReason(t *testing.T) {
	d := open(t, Config{})
	d.publish("wide", leat.Message{Value: []byte("x")})
	once := leat.PullConfig{Wait: leat.PullWaitMax, // the group is as who comes first says
		Queue: leat.QueueConfig{MaxAttempts: 2}}
	list, err := d.bus.Pull(t.Context(), "wide", "work", once)
	if err != nil || len(list) != 1 {
		t.Fatalf("pulled %+v, %v", list, err)
	}
	if results, err := d.bus.Answer(t.Context(), "wide", "work", leat.Answer{Kind: leat.AnswerNack, Reason: "a"},
		[]leat.Loan{list[0].Loan}); err != nil || results[0] != nil {
		t.Fatalf("nack: %v, %v", results, err)
	}
	last := d.pull("wait=30")
	d.said("nack", d.answer("nack", `,"delay_ms":0,"reason":"no stock"`, last[0].Token), 0)
	waitFor(t, func() (string, bool) {
		got := d.call("GET", "/api/v1/dead-letters/wide.dlq.work/messages", nil)
		return got.body, got.status == 200 && strings.Contains(got.body, `"no stock"`)
	})
}

// waitFor asks until it is so.
func waitFor(t *testing.T, ask func() (string, bool)) {
	t.Helper()
	last := ""
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-ticker.C {
		if text, ok := ask(); ok {
			return
		} else if last = text; t.Failed() {
			break
		}
	}
	t.Fatalf("it did not come to that in time: %s", last)
}

// TestPullHTTPWaits: a pull that waits gets what is published meanwhile, holds a place among the streams, and
// ends with the door.
func TestPullHTTPWaits(t *testing.T) {
	d := open(t, Config{Limits: Limits{Streams: 1}})
	pulled := make(chan []PulledMessage, 1)
	go func() { pulled <- d.pull("wait=30") }()
	waitFor(t, func() (string, bool) { return "", d.door.streams.Load() == 1 })
	d.wants(d.call("POST", work+"pull?wait=1", nil), "a second wait", 429, core.CodeLimited, "Limits.Streams")
	d.publish("wide", leat.Message{Value: []byte("x")})
	if list := <-pulled; len(list) != 1 || *list[0].Value != "x" {
		t.Errorf("pulled %+v", list)
	}
	waitFor(t, func() (string, bool) { return "", d.door.streams.Load() == 0 })
	last := make(chan answer, 1)
	go func() { last <- d.call("POST", work+"pull?wait=30", nil) }()
	waitFor(t, func() (string, bool) { return "", d.door.streams.Load() == 1 })
	d.door.stop()
	d.wants(<-last, "a door that closes", 503, core.CodeDraining)
}

func TestPullHTTPRefuses(t *testing.T) {
	d := open(t, Config{})
	d.publish("wide", leat.Message{Value: []byte("x")})
	good := d.pull("lease=60")[0].Token
	stream, err := d.bus.Subscribe("wide", leat.Group("stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	tokens := func(n int) string { return `{"tokens":["` + strings.Repeat(good+`","`, n-1) + good + `"]}` }
	for name, tt := range map[string]struct {
		path, body string
		status     int
		code       core.Code
		part       string
	}{
		"no topic":          {"no/groups/g/pull", "", 404, core.CodeTopicNotFound, `"no"`},
		"no name":           {"a%20b/groups/g/pull", "", 422, core.CodeInvalidRequest, "topic"},
		"no group":          {"wide/groups/a%20b/pull", "", 422, core.CodeInvalidRequest, "group"},
		"a group of ours":   {"wide/groups/__g/pull", "", 422, core.CodeInvalidName, "__"},
		"none":              {"wide/groups/g/pull?max=0", "", 422, core.CodeInvalidRequest, "max"},
		"too many":          {"wide/groups/g/pull?max=1001", "", 422, core.CodeInvalidRequest, "max"},
		"too long":          {"wide/groups/g/pull?wait=31", "", 422, core.CodeInvalidRequest, "wait"},
		"a long lease":      {"wide/groups/g/pull?lease=86401", "", 422, core.CodeInvalidRequest, "lease"},
		"no mode":           {"wide/groups/g/pull?mode=stream", "", 422, core.CodeInvalidRequest, "mode"},
		"no start":          {"wide/groups/g/pull?from=now", "", 400, core.CodeInvalidRequest, "from"},
		"a cursor":          {"wide/groups/g/pull?from=0:1", "", 400, core.CodeInvalidRequest, "from"},
		"beyond the end":    {"wide/groups/g/pull?from=7", "", 416, core.CodeOffsetOutOfRange, "7"},
		"another mode":      {"wide/groups/work/pull?mode=key-shared", "", 409, core.CodeConfigMismatch, "queue"},
		"another lease":     {"wide/groups/work/pull?lease=61", "", 409, core.CodeConfigMismatch, "Lease"},
		"a stream group":    {"wide/groups/stream/pull", "", 409, core.CodeConfigMismatch, "stream"},
		"no tokens":         {"wide/groups/work/ack", "{}", 422, core.CodeInvalidRequest, "tokens"},
		"an empty list":     {"wide/groups/work/ack", `{"tokens":[]}`, 422, core.CodeInvalidRequest, "tokens"},
		"too many tokens":   {"wide/groups/work/ack", tokens(1001), 422, core.CodeInvalidRequest, "tokens"},
		"no body":           {"wide/groups/work/ack", "", 400, core.CodeInvalidRequest, "body"},
		"no JSON":           {"wide/groups/work/ack", "{", 400, core.CodeInvalidRequest, ""},
		"another field":     {"wide/groups/work/ack", `{"tokens":["x"],"no":1}`, 422, core.CodeInvalidRequest, "no"},
		"a delay of an ack": {"wide/groups/work/ack", `{"tokens":["x"],"delay_ms":1}`, 422, core.CodeInvalidRequest, ""},
		"no delay":          {"wide/groups/work/nack", `{"tokens":["x"],"delay_ms":-1}`, 422, core.CodeInvalidRequest, ""},
		"a long reason of a nack": {"wide/groups/work/nack", `{"tokens":["x"],"reason":"` +
			strings.Repeat("x", 1025) + `"}`, 422, core.CodeInvalidRequest, ""},
		"a long reason": {"wide/groups/work/reject", `{"tokens":["x"],"reason":"` + strings.Repeat("x", 1025) + `"}`,
			422, core.CodeInvalidRequest, "reason"},
		"an ack of no topic": {"no/groups/work/ack", tokens(1), 404, core.CodeTopicNotFound, `"no"`},
		"an ack of no group": {"wide/groups/__g/ack", tokens(1), 422, core.CodeInvalidName, "__"},
	} {
		got := d.call("POST", "/v1/topics/"+tt.path, strings.NewReader(tt.body), "Content-Type", "application/json")
		d.wants(got, name, tt.status, tt.code, tt.part)
	}
	got := d.call("GET", work+"pull", nil)
	d.wants(got, "method", 405, core.CodeInvalidRequest, "POST")
	for _, verb := range []string{"nack", "reject", "extend", "ack"} {
		forged := "B" + good[1:]
		d.said(verb+" of what is no token", d.answer(verb, "", "", "x", forged, good[:40], good+"AAAA"),
			core.CodeInvalidRequest, core.CodeInvalidRequest, core.CodeInvalidRequest, core.CodeInvalidRequest,
			core.CodeInvalidRequest)
	}
	d.said("the good one among bad ones", d.answer("ack", "", "x", good, good), core.CodeInvalidRequest, 0,
		core.CodeStaleAck)
	if d.door.streams.Load() != 0 {
		t.Errorf("%d streams", d.door.streams.Load())
	}
}

// TestLoanTokens: a token is good for its topic, group and key, as it was given out.
func TestLoanTokens(t *testing.T) {
	key := []byte(strings.Repeat("k", LoanKeyBytes))
	s := newSealer(key)
	loan := leat.Loan{Partition: 16383, Offset: 1 << 60, Slot: 1 << 30, Epoch: 1 << 61}
	token := s.token("t", "g", loan)
	if got, err := newSealer(slices.Clone(key)).loan("t", "g", token); err != nil || got != loan {
		t.Errorf("loan = %+v, %v; want %+v", got, err, loan)
	}
	for name, try := range map[string]func() error{
		"another topic": func() error { _, err := s.loan("u", "g", token); return err },
		"another group": func() error { _, err := s.loan("t", "h", token); return err },
		"names that run together": func() error {
			_, err := s.loan("tg", "", token)
			return err
		},
		"another key": func() error { _, err := newSealer(nil).loan("t", "g", token); return err },
	} {
		if try() == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	raw := must(base64.RawURLEncoding.DecodeString(token))
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if got, err := s.loan("t", "g", base64.RawURLEncoding.EncodeToString(raw)); err == nil {
				t.Fatalf("bit %d of byte %d changed: %+v", bit, i, got)
			}
			raw[i] ^= 1 << bit
		}
	}
	if a, b := newSealer(nil), newSealer(nil); slices.Equal(a.key, b.key) || len(a.key) != LoanKeyBytes {
		t.Errorf("keys %x and %x", a.key, b.key)
	}
	if _, err := Open(nil, Config{LoanKey: key[1:]}); !errors.Is(err, core.ErrInvalidConfig) ||
		!strings.Contains(err.Error(), "LoanKey") {
		t.Errorf("a short key: %v", err)
	}
}

// FuzzLoan: whatever comes, no token but the one that was given out is taken.
func FuzzLoan(f *testing.F) {
	s := newSealer([]byte(strings.Repeat("k", LoanKeyBytes)))
	loan := leat.Loan{Partition: 1, Offset: 2, Slot: 3, Epoch: 4}
	good := s.token("t", "g", loan)
	f.Add(good)
	f.Add(good[:54])
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		if got, err := s.loan("t", "g", token); (err == nil) != (token == good) {
			t.Errorf("loan(%q) = %+v, %v", token, got, err)
		}
	})
}
