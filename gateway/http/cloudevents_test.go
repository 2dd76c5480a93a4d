package httpdoor

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// spelled is a message in one line.
func spelled(m *leat.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s", m.Key, m.Value)
	for _, h := range m.Headers {
		fmt.Fprintf(&b, " %s:%s", h.Key, h.Value)
	}
	return b.String()
}

// TestCloudEvents: one event in each mode comes out the same.
func TestCloudEvents(t *testing.T) {
	structured := `{"specversion":"1.0","id":"1","source":"/a b","type":"t","count":7,"flag":true,"subject":null,` +
		`"partitionkey":"k","datacontenttype":"application/json","data":{"x": 1}}`
	want := `k={"x": 1} ce_count:7 content-type:application/json ce_flag:true ce_id:1 ce_partitionkey:k ` +
		`ce_source:/a b ce_specversion:1.0 ce_type:t`
	d := open(t, Config{})
	post := func(body string, headers ...string) answer {
		return d.call("POST", "/v1/topics/t/messages", strings.NewReader(body), headers...)
	}
	answers := []answer{
		post(structured, "Content-Type", "application/cloudevents+json; charset=utf-8"),
		post(`{"x": 1}`, "Content-Type", "application/json", "ce-specversion", "1.0", "ce-id", "1", "ce-source",
			"/a%20b",
			"ce-type", "t", "ce-count", "7", "ce-flag", "true", "ce-partitionkey", "k"),
		post("["+structured+","+structured+"]", "Content-Type", cloudEventBatch),
	}
	for i, got := range answers {
		if got.status != http.StatusOK {
			t.Errorf("mode %d: %d %s", i, got.status, got.body)
		}
	}
	if list := decode[[]LineResult](t, answers[2].body); len(list) != 2 || *list[1].Offset != 3 ||
		list[1].Line != 2 {
		t.Errorf("batch: %s", answers[2].body)
	}
	for i, m := range d.published("t", 4) {
		if got := spelled(m); got != want {
			t.Errorf("event %d is %s; want %s", i, got, want)
		}
	}
	got := post(structured, "Content-Type", cloudEvent, "Leat-Key", "own", "Leat-H-X", "y")
	if m := d.published("t", 5)[4]; got.status != 200 || !strings.HasPrefix(spelled(m), "own=") ||
		!strings.HasSuffix(spelled(m), " x:y") {
		t.Errorf("with a key: %d %s %s", got.status, got.body, spelled(m))
	}
}

func TestCloudEventData(t *testing.T) {
	const head = `{"specversion":"1.0","id":"1","source":"s","type":"t"`
	for rest, want := range map[string]string{
		``:               "",
		`,"data":"text"`: `"text"`,
		`,"data":null`:   `null`,
		`,"data":"x","datacontenttype":"text/plain"`:             "x",
		`,"data":"x","datacontenttype":"application/vnd.x+json"`: `"x"`,
		`,"data":[1],"datacontenttype":"text/plain"`:             "[1]",
		`,"data_base64":"AP8="`:                                  "\x00\xff",
	} {
		m, err := structuredEvent([]byte(head + rest + "}"))
		if err != nil || m.Value == nil || string(m.Value) != want {
			t.Errorf("%s has value %q, %v; want %q", rest, m.Value, err, want)
		}
	}
}

func TestCloudEventsRefused(t *testing.T) {
	d := open(t, Config{})
	const head = `{"specversion":"1.0","id":"1","source":"s","type":"t"`
	for body, part := range map[string]string{
		``:                                   "want {",
		`{}`:                                 "specversion",
		`{"specversion":"0.3"}`:              `"0.3"`,
		`{"specversion":"1.0","source":"s"}`: "id is missing",
		head + `,"type":""}`:                 "twice",
		head + `,"Upper":"x"}`:               `"Upper"`,
		head + `,"x":{}}`:                    "want a string",
		head + `,"x":nul}`:                   "want a string",
		head + `,"x":"\x"}`:                  "x: ",
		head + `,"data":1,"data_base64":""}`: "one of them",
		head + `,"data":nul}`:                "not JSON",
		head + `,"data_base64":"A"}`:         "not base64",
		head + `}}`:                          "want the end",
	} {
		got := d.call("POST", "/v1/topics/t/messages", strings.NewReader(body), "Content-Type", cloudEvent)
		d.wants(got, body, 400, core.CodeInvalidRequest, part)
	}
	for body, part := range map[string]string{
		`{}`:               "want [",
		`[1]`:              "event 1: ",
		`[` + head + `}`:   "want , or ]",
		`[` + head + `},]`: "want a value",
		`[]]`:              "want the end",
		`[` + strings.Repeat(head+"},", batchMost) + head + `}]`: "more than 4096",
	} {
		got := d.call("POST", "/v1/topics/t/messages", strings.NewReader(body), "Content-Type", cloudEventBatch)
		d.wants(got, "batch", 400, core.CodeInvalidRequest, part)
	}
	for name, headers := range map[string][]string{
		"twice":      {"ce-specversion", "1.0", "ce-id", "1", "ce-id", "2"},
		"an escape":  {"ce-specversion", "1.0", "ce-id", "%zz"},
		"incomplete": {"ce-specversion", "1.0", "ce-id", "1"},
		"two keys": {"ce-specversion", "1.0", "ce-id", "1", "ce-source", "s", "ce-type", "t", "Leat-Key", "a",
			"Leat-Key-Base64", ""},
	} {
		got := d.call("POST", "/v1/topics/t/messages", strings.NewReader("x"), headers...)
		d.wants(got, name, 400, core.CodeInvalidRequest)
	}
	batch := "[" + head + `,"data":"` + strings.Repeat("x", 2<<20) + `"},` + head + `}]`
	got := d.call("POST", "/v1/topics/t/messages", strings.NewReader(batch), "Content-Type", cloudEventBatch)
	list := decode[[]LineResult](t, got.body)
	if got.status != 413 || len(list) != 2 || list[0].Error == nil || list[1].Offset == nil {
		t.Errorf("one that is too large: %d %.300s", got.status, got.body)
	}
	got = d.call("POST", "/v1/topics/no/messages", strings.NewReader("[]"), "Content-Type", cloudEventBatch)
	d.wants(got, "no topic", 404, core.CodeTopicNotFound)
	got = d.call("POST", "/v1/topics/t/messages?partition=0", strings.NewReader("[]"), "Content-Type",
		cloudEventBatch)
	d.wants(got, "a partition", 400, core.CodeInvalidRequest, "partition")
}

// FuzzStructuredEvent: what is taken is JSON, whose attributes encoding/json reads the same.
func FuzzStructuredEvent(f *testing.F) {
	f.Add(`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"a":1},"x":5}`)
	f.Add(`{"specversion":"1.0","id":"\u0061","source":"s","type":"t","data_base64":"AA=="}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := structuredEvent([]byte(text))
		if err != nil {
			return
		}
		var want struct {
			ID any `json:"id"`
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("structuredEvent takes %q, which is no JSON: %v", text, err)
		}
		for _, h := range m.Headers {
			if id, ok := want.ID.(string); ok && h.Key == "ce_id" && !reflect.DeepEqual(string(h.Value), id) {
				t.Errorf("id of %q is %q; want %q", text, h.Value, id)
			}
		}
	})
}
