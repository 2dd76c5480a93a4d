package httpdoor

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// TestReadFiltered: pages that follow each other have every message that passes once, and end.
func TestReadFiltered(t *testing.T) {
	d := open(t, Config{})
	for i := range 60 {
		d.publish("wide", leat.Message{Partition: int32(i % 3), Value: fmt.Append(nil, i),
			Headers: []leat.Header{{Key: "n", Value: fmt.Append(nil, i)}}})
	}
	const filter = `int(header("n")) % 5 == 0`
	for _, start := range []string{"earliest", "0", "@2020-01-01T00:00:00Z", "0:0,1:0,2:0"} {
		seen, pages := map[string]bool{}, 0
		next := start
		for {
			p := d.page("wide", "from", next, "limit", "5", "filter", filter)
			if pages++; p.Next == next {
				break
			}
			for _, m := range p.Messages {
				if seen[*m.Value] {
					t.Errorf("from %s: message %s comes twice", start, *m.Value)
				}
				seen[*m.Value] = true
			}
			next = p.Next
		}
		if len(seen) != 12 || next != "0:20,1:20,2:20" {
			t.Errorf("from %s: %d messages in %d pages, up to %s: %v", start, len(seen), pages, next, seen)
		}
	}
	at := "/v1/topics/wide/messages?filter=" + url.QueryEscape(filter)
	d.wants(d.call("GET", at+"&wait=5", nil), "a wait", http.StatusBadRequest, core.CodeInvalidRequest)
	for _, path := range []string{"/v1/topics/wide/messages", "/v1/topics/wide/events",
		"/api/v1/topics/wide/messages"} {
		d.wants(d.call("GET", path+"?filter=kay", nil), path, http.StatusUnprocessableEntity,
			core.CodeInvalidConfig)
	}
	says(t, d.call("GET", "/api/v1/topics/wide/messages?filter="+url.QueryEscape(`header("n") == "7"`), nil),
		200,
		`"value":"7"`, `"scanned":60`)
}

// TestReadFilteredIsBounded: large messages end a page soon.
func TestReadFilteredIsBounded(t *testing.T) {
	d := open(t, Config{})
	const most = pageBytes/(512<<10) - 1 + filteredStep
	for range 2 * most {
		d.publish("wide", leat.Message{Value: make([]byte, 512<<10)})
	}
	p := d.page("wide", "from", "earliest", "limit", "1000", "filter", "true")
	if n := len(p.Messages); n == 0 || n > most {
		t.Errorf("%d messages of 512 KiB on a page, want at most %d", n, most)
	}
	if rest := d.page("wide", "from", p.Next, "limit", "1", "filter", "true"); len(rest.Messages) != 1 ||
		rest.Messages[0].Offset != p.Messages[len(p.Messages)-1].Offset+1 {
		t.Errorf("the next page has %d messages", len(rest.Messages))
	}
}

// TestEventsFiltered: a stream with a filter has what passes, and ids that are behind what does not.
func TestEventsFiltered(t *testing.T) {
	d := open(t, Config{})
	l := d.listen("/v1/topics/t/events?from=earliest&filter=" + url.QueryEscape(`header("n") in ["3", "5"]`))
	if _, err := l.next(); err != nil { // retry
		t.Fatal(err)
	}
	for i := range 7 {
		d.publish("t", leat.Message{Value: fmt.Append(nil, i), Headers: []leat.Header{{Key: "n",
			Value: fmt.Append(nil, i)}}})
	}
	for _, want := range []string{"0:4", "0:6"} {
		for {
			e, err := l.next()
			if err != nil {
				t.Fatal(err)
			}
			if e.data == "" { // the first id
				continue
			}
			if e.id != want {
				t.Errorf("event %s has id %s, want %s", e.data, e.id, want)
			}
			break
		}
	}
}

// TestCreateCompacted: the admin API makes topics that keep the newest message of each key.
func TestCreateCompacted(t *testing.T) {
	d := open(t, Config{})
	says(t, d.call("PUT", "/api/v1/topics/prices", strings.NewReader(`{"cleanup":"compact"}`),
		"Content-Type", "application/json"), 201, `"cleanup":"compact"`)
	info, err := d.bus.Topic(t.Context(), "prices")
	if err != nil || info.Config.Cleanup != leat.CleanupCompact || info.Config.Retention != leat.KeepForever {
		t.Errorf("the topic is %+v, %v", info, err)
	}
}
