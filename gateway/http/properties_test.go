package httpdoor

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// TestIdempotencyKey: a message that is sent again is stored once, wherever its key, or its id, takes it.
func TestIdempotencyKey(t *testing.T) {
	d := open(t, Config{})
	for name, headers := range map[string][]string{
		"by id":     {"Idempotency-Key", "order-1"},
		"by key":    {"Idempotency-Key", "order-2", "Leat-Key", "k"},
		"in quotes": {"Idempotency-Key", `"order \"3\" \\"`},
		"a CloudEvent": {"Idempotency-Key", "order-4", "Ce-Specversion", "1.0", "Ce-Id", "i", "Ce-Source", "s",
			"Ce-Type", "t"},
		"with a time to live": {"Idempotency-Key", "order-5", "Leat-TTL", "1h30m"},
	} {
		var first Receipt
		for again := range 4 {
			got := d.call("POST", "/v1/topics/wide/messages", strings.NewReader("x"), headers...)
			if got.status != http.StatusOK {
				t.Fatalf("%s: %d %s", name, got.status, got.body)
			}
			r := decode[Receipt](t, got.body)
			if again == 0 {
				first = r
			}
			marked := got.header.Get("Leat-Duplicate") == "true"
			if r.Duplicate != (again > 0) || marked != r.Duplicate || r.Offset != first.Offset ||
				r.Partition != first.Partition || !r.Time.Equal(first.Time) {
				t.Errorf("%s, publish %d: %s, Leat-Duplicate %v; the first was %+v", name, again, got.body, marked, first)
			}
		}
	}
	got := map[string]time.Duration{}
	for _, m := range d.published("wide", 5) {
		got[m.ID] = m.TTL
	}
	want := map[string]time.Duration{"order-1": 0, "order-2": 0, `order "3" \`: 0, "order-4": 0,
		"order-5": 90 * time.Minute}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("published %v; want %v", got, want)
	}
}

// TestIdempotencyKeyAnywhere: ids without a key are spread, and a line goes where a request went.
func TestIdempotencyKeyAnywhere(t *testing.T) {
	d := open(t, Config{})
	used := map[int32]bool{}
	var lines strings.Builder
	var receipts []Receipt
	for i := range 20 {
		id := fmt.Sprint("id-", i)
		r := decode[Receipt](t, d.call("POST", "/v1/topics/wide/messages", strings.NewReader("x"),
			"Idempotency-Key", id).body)
		receipts = append(receipts, r)
		used[r.Partition] = true
		fmt.Fprintf(&lines, `{"id":%q,"value":"again"}`+"\n", id)
	}
	if len(used) != 3 {
		t.Errorf("20 ids went to %d partitions of 3", len(used))
	}
	lines.WriteString(`{"id":"other","ttl_ms":60000,"key":"k","value":"new"}` + "\n")
	got := d.call("POST", "/v1/topics/wide/messages", strings.NewReader(lines.String()), "Content-Type", ndjson)
	all := results(t, got.body)
	if len(all) != 21 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for i, r := range receipts {
		if l := all[i]; l.Error != nil || !l.Duplicate || *l.Partition != r.Partition || *l.Offset != r.Offset {
			t.Errorf("line %d: %+v; want a duplicate of %+v", i+1, l, r)
		}
	}
	if all[20].Error != nil || all[20].Duplicate {
		t.Errorf("the new one: %+v", all[20])
	}
	var last *Message
	for _, m := range d.page("wide").Messages {
		if m.ID == "other" {
			last = &m
		}
	}
	if last == nil || last.TTLMillis != 60_000 || *last.Value != "new" {
		t.Errorf("read %+v", last)
	}
}

// TestIdempotencyKeyRemade: a topic that is made anew with other partitions gets its messages.
func TestIdempotencyKeyRemade(t *testing.T) {
	d := open(t, Config{})
	post := func() answer {
		return d.call("POST", "/v1/topics/wide/messages", strings.NewReader("x"), "Idempotency-Key", "id-19")
	}
	d.wants(d.call("POST", "/v1/topics/no/messages", strings.NewReader("x"), "Idempotency-Key", "a"), "no topic",
		404, core.CodeTopicNotFound, `"no"`)
	if got := post(); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if err := d.bus.DeleteTopic(t.Context(), "wide"); err != nil {
		t.Fatal(err)
	}
	if err := d.bus.CreateTopic(t.Context(), "wide", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	got := post()
	if r := decode[Receipt](t, got.body); got.status != http.StatusOK || r.Partition != 0 || r.Duplicate {
		t.Errorf("the topic made anew: %d %s", got.status, got.body)
	}
}

func TestPropertiesRefused(t *testing.T) {
	d := open(t, Config{})
	for name, tt := range map[string]struct {
		headers []string
		part    string
	}{
		"an empty id":         {[]string{"Idempotency-Key", ""}, "0 bytes"},
		"an empty string":     {[]string{"Idempotency-Key", `""`}, "0 bytes"},
		"a long id":           {[]string{"Idempotency-Key", strings.Repeat("x", 129)}, "129 bytes"},
		"two ids":             {[]string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, "2 times"},
		"half a string":       {[]string{"Idempotency-Key", `"a`}, "quotes"},
		"more than a string":  {[]string{"Idempotency-Key", `"a";b`}, "quotes"},
		"no escape":           {[]string{"Idempotency-Key", `"a\b"`}, "quotes"},
		"no end of an escape": {[]string{"Idempotency-Key", `"a\`}, "quotes"},
		"no ASCII":            {[]string{"Idempotency-Key", `"é"`}, "quotes"},
		"no duration":         {[]string{"Leat-TTL", "30"}, `"30"`},
		"no time":             {[]string{"Leat-TTL", "0s"}, `"0s"`},
		"time before":         {[]string{"Leat-TTL", "-1s"}, `"-1s"`},
		"too little time":     {[]string{"Leat-TTL", "1us"}, "1ms"},
		"too much time":       {[]string{"Leat-TTL", "90000h"}, "10 years"},
		"two times":           {[]string{"Leat-TTL", "1s", "Leat-TTL", "2s"}, "one duration"},
		"no delay":            {[]string{"Leat-Delay", "soon"}, `"soon"`},
		"no time to wait":     {[]string{"Leat-Delay", "0s"}, `"0s"`},
		"no time of delivery": {[]string{"Leat-Deliver-At", "noon"}, `"noon"`},
		"two delays": {[]string{"Leat-Delay", "1s", "Leat-Deliver-At", "2030-01-01T00:00:00Z"},
			"one of them"},
		"a delay of lines": {[]string{"Leat-Delay", "1s", "Content-Type", ndjson}, "each has its own"},
		"an id of lines":   {[]string{"Idempotency-Key", "a", "Content-Type", ndjson}, "each has its own"},
		"a time of lines":  {[]string{"Leat-TTL", "1s", "Content-Type", ndjson}, "each has its own"},
		"an id of a batch": {[]string{"Idempotency-Key", "a", "Content-Type", cloudEventBatch},
			"each has its own"},
	} {
		got := d.call("POST", "/v1/topics/t/messages", strings.NewReader("x"), tt.headers...)
		d.wants(got, name, 400, core.CodeInvalidRequest, tt.part)
	}
	for _, line := range []string{`"id":""`, `"id":1`, `"id":null`, `"id":"` + strings.Repeat("x", 129) + `"`,
		`"ttl_ms":0`, `"ttl_ms":-1`, `"delay_ms":0`, `"deliver_at":"noon"`, `"deliver_at":1`,
		`"delay_ms":1,"deliver_at":"2030-01-01T00:00:00Z"`, `"ttl_ms":1.5`, `"ttl_ms":"1"`, `"ttl_ms":315360000001`, `"ttl_ms":99999999999999999999`} {
		name, _, _ := strings.Cut(line[1:], `"`)
		if _, err := parseLine([]byte(`{"value":"x",` + line + `}`)); core.CodeOf(err) != core.CodeInvalidRequest ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("parseLine of %s: %v", line, err)
		}
	}
	if got := d.call("GET", "/v1/topics/t", nil); decode[Topic](t, got.body).Partitions[0].HighWater != 0 {
		t.Errorf("something was published: %s", got.body)
	}
}

// FuzzMessageID: what is taken fits, and what has no quotes is what it says.
func FuzzMessageID(f *testing.F) {
	for _, text := range []string{"a", `"a"`, `"a\"b"`, `"`, "", `"a"b`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := messageID([]string{text})
		if err != nil {
			return
		}
		if id == "" || len(id) > core.MaxIDBytes || text[0] != '"' && id != text {
			t.Errorf("messageID(%q) = %q", text, id)
		}
	})
}

// TestDelayed: a message that waits is stored, named by a handle, and delivered when it is due.
func TestDelayed(t *testing.T) {
	d := open(t, Config{})
	due := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	for _, headers := range [][]string{{"Leat-Delay", "1h"}, {"Leat-Deliver-At", due}} {
		got := d.call("POST", "/v1/topics/wide/messages", strings.NewReader("later"), headers...)
		r := decode[Receipt](t, got.body)
		if got.status != http.StatusAccepted || r.Offset != -1 || r.Handle == "" {
			t.Errorf("%v: %d %s", headers, got.status, got.body)
		}
	}
	got := d.call("POST", "/v1/topics/wide/messages", strings.NewReader(`{"value":"later","delay_ms":3600000}`+"\n"+
		`{"value":"later","deliver_at":"`+due+`"}`+"\n"+`{"value":"soon","delay_ms":1}`), "Content-Type", ndjson)
	for _, l := range results(t, got.body) {
		if l.Error != nil || *l.Offset != -1 || l.Handle == "" {
			t.Errorf("line %+v", l)
		}
	}
	page, err := d.bus.Delayed(t.Context(), leat.DelayFilter{Topic: "wide", From: time.Now().Add(time.Minute)})
	if err != nil || len(page.Messages) != 4 {
		t.Errorf("%d wait, %v; want 4", len(page.Messages), err)
	}
	if m := d.published("wide", 1)[0]; string(m.Value) != "soon" {
		t.Errorf("%s was delivered", m.Value)
	}
}
