package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/leatbus/leat"
)

// counterpart is whom the examples of request and reply talk to: a responder, or somebody who asks until
// there is one.
func (d *desk) counterpart(ctx context.Context, verb string) {
	d.t.Helper()
	switch verb {
	case "request":
		d.respond("trades", func(_ context.Context, m *leat.Message) (leat.Message, error) { return *m, nil })
	case "reply":
		ctx, cancel := context.WithCancel(ctx)
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			for ctx.Err() == nil {
				if _, err := d.bus.Request(ctx, "trades", leat.Message{Value: []byte("acme")}); err == nil {
					return
				}
			}
		}()
		d.t.Cleanup(func() {
			cancel()
			<-asked
		})
	}
}

func (d *desk) respond(topic string, handler leat.Handler) {
	d.t.Helper()
	r, err := d.bus.Respond(topic, handler)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			d.t.Errorf("Responder.Close: %v", err)
		}
	})
}

func TestRequest(t *testing.T) {
	d := newDesk(t, "trades", "none")
	d.respond("trades", func(_ context.Context, m *leat.Message) (leat.Message, error) {
		if string(m.Value) == "fail" {
			return leat.Message{}, fmt.Errorf("no such stock")
		}
		return leat.Message{Key: m.Key, Value: append([]byte("re: "), m.Value...), Headers: m.Headers}, nil
	})
	d.golden(`
$ leat request trades hello
re: hello
$ leat request trades hello -k ACME -H source:desk -f '%k %v %h\n'
ACME re: hello source:desk
$ leat request trades hello -k ACME -H source:desk -o json
{"key":"ACME","value":"re: hello","headers":[{"key":"source","value":"desk"}]}
$ leat request trades hello -o yaml
---
value: "re: hello"
$ leat request trades hello --all
re: hello
$ leat request trades hello --all --count 1 -o json
{"value":"re: hello"}
$ leat request trades fail
error: leat: request on topic "trades": the responder answered with an error: no such stock (LEAT-7006)
hint: the message has the error of the responder: correct the request, or the responder
$ leat request none hello
error: leat: request on topic "none": nobody answers requests on the topic (LEAT-7004)
hint: start a responder (bus.Respond, leat reply), or check the name of the topic
$ leat request trade hello
error: leat: request on topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
$ leat reply trade
error: leat: answer requests on topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
`)
	in := d.feed(t.Context(), strings.NewReader("two\nlines"), "request", "trades", "-")
	if in.code != exitOK || in.stdout != "re: two\nlines\n" {
		t.Errorf("from standard input: %+v", in)
	}
	if got := d.run("request none hello"); got.code != 4 {
		t.Errorf("without a responder: exit code %d", got.code)
	}
	for line, want := range map[string]string{
		"request": "want TOPIC", "request a b c": "want TOPIC", "request trades x --count 2": "--all",
		"request trades x -f %q": "-f", "request trades x -f %v -o json": "-f", "request trades x -H y": "-H",
		"request trades x --all --count 0": "--count", "reply": "want TOPIC", "reply a b c": "want TOPIC",
		"reply trades x --exec y": "--exec", "reply trades --exec ''": "--exec",
		"reply trades --count 0":       "--count",
		"reply trades --concurrency 0": "--concurrency", "reply trades -f %q": "-f",
	} {
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, want)
		}
	}
}

// TestReply runs responders, each for one request.
func TestReply(t *testing.T) {
	d := newDesk(t, "trades")
	for _, tt := range []struct{ line, printed, reply string }{
		{"reply trades 110 --count 1", "acme\n", "110"},
		{"reply trades --count 1 -f '%t %k %v %h\\n'", "trades k acme n:v\n", "acme"},
		{"reply trades --count 1 -o json", `{"key":"k","value":"acme","headers":[{"key":"n","value":"v"}]}` + "\n",
			"acme"},
		{"reply trades --count 1 --exec 'tr a-z A-Z'", "acme\n", "ACME"},
		{"reply trades --count 1 --exec 'test $LEAT_TIMEOUT_MS -gt 0 && echo $LEAT_TOPIC $LEAT_KEY'", "acme\n",
			"trades k\n"},
		{"reply trades --count 1 --exec 'echo no such stock >&2; exit 3'", "acme\n",
			"error: exit status 3: no such stock"},
	} {
		ended := make(chan result, 1)
		go func() { ended <- d.feed(t.Context(), strings.NewReader(""), shellWords(t, tt.line)...) }()
		reply := d.asked("trades")
		got := <-ended
		if got.code != exitOK || got.stdout != tt.printed || !strings.Contains(reply, tt.reply) ||
			!strings.HasPrefix(tt.reply, "error") && reply != tt.reply {
			t.Errorf("leat %s = %+v, replied %q; want %q and %q", tt.line, got, reply, tt.printed, tt.reply)
		}
	}
}

// asked makes a request as soon as somebody answers, and gives the reply or the error.
func (d *desk) asked(topic string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	m := leat.Message{Key: []byte("k"), Value: []byte("acme"),
		Headers: []leat.Header{{Key: "n", Value: []byte("v")}}}
	for {
		reply, err := d.bus.Request(ctx, topic, m)
		switch {
		case err == nil:
			return string(reply.Value)
		case ctx.Err() != nil || leat.Retryable(err):
			if ctx.Err() != nil {
				return "nobody: " + err.Error()
			}
		default:
			return "error: " + strings.TrimPrefix(strings.TrimSuffix(err.Error(), " (LEAT-7006)"),
				`leat: request on topic "trades": the responder answered with an error: `)
		}
	}
}
