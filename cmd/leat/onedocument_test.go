package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	httpdoor "github.com/leatbus/leat/gateway/http"
)

// newDoorDesk has something of everything, and an HTTP door to the same bus, whose URL it gives.
func newDoorDesk(t *testing.T) (d *desk, url string) {
	d = newLetterDesk(t)
	d.create("wide", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage, TTL: time.Hour,
		DedupWindow: time.Minute})
	for _, line := range []string{
		"pub trades a -k k -H h:v --id order-1 --ttl 1h", "pub trades b", "pub wide x --partition 1",
		"sub trades --group stream --count 1", "sub wide --group stream --count 1",
		"pub trades later -k ACME --at 2035-01-01", "pub wide later --at 2035-01-02",
	} {
		d.must(line)
	}
	sub, err := d.bus.Subscribe("trades", leat.Group("queue"), leat.Queue(), leat.MaxHeld(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() }) // the bus closes next, and tells
	for _, err := range sub.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	door, err := httpdoor.Open(d.bus, httpdoor.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := door.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, "http://" + door.Addr().String() + "/api/v1"
}

// ask makes a request below /api/v1.
func ask(t *testing.T, method, url, body string) any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %d %s, %v", method, url, response.StatusCode, text, err)
	}
	return parsed(t, string(text))
}

func parsed(t *testing.T, text string) (doc any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return doc
}

// steady takes what goes on between two looks out of a document, and leaves that it was told. The pace of a
// group goes altogether: the door knows it from an earlier look, while the command does with --over only.
func steady(doc any) any {
	switch doc := doc.(type) {
	case map[string]any:
		delete(doc, "acked_per_sec")
		delete(doc, "zero_in_seconds")
		for key, value := range doc {
			if doc[key] = steady(value); key == "lag_seconds" {
				doc[key] = "told"
			}
		}
	case []any:
		for i := range doc {
			doc[i] = steady(doc[i])
		}
	}
	return doc
}

// TestOneDocument: the command prints what the admin API answers, key by key.
func TestOneDocument(t *testing.T) {
	d, url := newDoorDesk(t)
	for _, tt := range []struct {
		line, method, path, body string
		field                    string // of a page that has what the command lists; empty: all of it
		least                    int    // entries of a list
	}{
		{"topic ls", "GET", "/topics", "", "topics", 4},
		{"topic describe wide", "GET", "/topics/wide", "", "", 0},
		{"topic alter wide --ttl 2h", "PATCH", "/topics/wide", `{"ttl_ms":7200000}`, "", 0},
		{"group ls", "GET", "/groups", "", "groups", 3},
		{"group describe stream", "GET", "/groups/stream", "", "topics", 2},
		{"group describe queue", "GET", "/groups/queue", "", "topics", 1},
		{"group reset stream --topic wide --to earliest --dry-run", "POST", "/groups/stream/reset?dry_run=true",
			`{"topic":"wide","to":"earliest"}`, "", 0},
		{"group reset stream --topic wide --to @2020-01-01T00:00:00Z --dry-run", "POST",
			"/groups/stream/reset?dry_run=true", `{"topic":"wide","to":"@2020-01-01T00:00:00Z"}`, "", 0},
		{"group rm stream --topic wide --dry-run", "DELETE", "/groups/stream?topic=wide&dry_run=true", "", "", 0},
		{"topic rm wide --dry-run", "DELETE", "/topics/wide?dry_run=true", "", "", 0},
		{"topic peek trades --id order-1", "GET", "/topics/trades/messages?id=order-1", "", "messages", 1},
		{"topic peek trades --bytes 1", "GET", "/topics/trades/messages?preview=1", "", "messages", 2},
		{"dlq ls", "GET", "/dead-letters", "", "topics", 1},
		{"dlq show trades.dlq.risk", "GET", "/dead-letters/trades.dlq.risk/messages", "", "letters", 5},
		{"dlq show trades.dlq.risk --code REJECTED --limit 1", "GET",
			"/dead-letters/trades.dlq.risk/messages?code=REJECTED&limit=1", "", "letters", 1},
		{"delay ls", "GET", "/delayed", "", "", 0},
		{"delay ls -k ACME --limit 1", "GET", "/delayed?key=ACME&limit=1", "", "", 0},
		{"cluster status", "GET", "/cluster", "", "", 0},
	} {
		for end := time.Now().Add(patience); ; { // what the disk has may move between two looks
			answered := ask(t, tt.method, url+tt.path, tt.body)
			printed := d.must(tt.line + " -o json")
			if strings.HasPrefix(tt.line, "topic peek") { // a line for each
				printed = "[" + strings.Join(strings.Split(strings.TrimSpace(printed), "\n"), ",") + "]"
			}
			if tt.field != "" {
				answered = answered.(map[string]any)[tt.field]
				if list, ok := answered.([]any); !ok || len(list) < tt.least {
					t.Errorf("%s %s = %v; want at least %d", tt.method, tt.path, answered, tt.least)
				}
			}
			got, want := steady(parsed(t, printed)), steady(answered)
			if reflect.DeepEqual(got, want) {
				break
			}
			if time.Now().After(end) {
				t.Errorf("leat %s and %s %s differ:\n%v\n%v", tt.line, tt.method, tt.path, got, want)
				break
			}
		}
	}
	nodes := ask(t, "GET", url+"/nodes", "").(map[string]any)["nodes"]
	if got := parsed(t, d.must("cluster status -o json")).(map[string]any)["nodes"]; !reflect.DeepEqual(got,
		nodes) {
		t.Errorf("nodes: %v and %v", got, nodes)
	}
}

// TestOneDocumentOfDelays: both tell the same of a message that is rescheduled and cancelled.
func TestOneDocumentOfDelays(t *testing.T) {
	d, url := newDoorDesk(t)
	handles := map[string]string{}
	for _, m := range parsed(t, d.must("delay ls -o json")).(map[string]any)["messages"].([]any) {
		handles[m.(map[string]any)["topic"].(string)] = m.(map[string]any)["handle"].(string)
	}
	printed := parsed(t,
		d.must("delay reschedule "+handles["trades"]+" --at 2035-02-01 -o json")).(map[string]any)
	answered := ask(t, "PATCH", url+"/delayed/"+handles["wide"],
		`{"deliver_at":"2035-02-01T00:00:00Z"}`).(map[string]any)
	moved := answered["new_handle"].(string)
	if printed["handle"] != handles["trades"] || answered["handle"] != handles["wide"] ||
		moved == handles["wide"] {
		t.Errorf("%v and %v", printed, answered)
	}
	for _, key := range []string{"handle", "new_handle"} {
		delete(printed, key)
		delete(answered, key)
	}
	if !reflect.DeepEqual(printed, answered) {
		t.Errorf("rescheduled: %v and %v", printed, answered)
	}
	gone := ask(t, "DELETE", url+"/delayed/"+moved, "")
	again := parsed(t, d.must("delay cancel "+moved+" -o json")).(map[string]any)["messages"].([]any)[0]
	if !reflect.DeepEqual(gone, again) {
		t.Errorf("cancelled: %v and %v", gone, again)
	}
}
