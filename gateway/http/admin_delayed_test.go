package httpdoor

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

const delayedAt = "/api/v1/delayed"

// openDelayed has three messages that wait, for t on the first and second of January 2035, for wide on the
// third.
func openDelayed(t *testing.T) (d *desk, handles []string) {
	d = open(t, Config{})
	for i, m := range []leat.Message{{Topic: "t", Key: []byte("a")}, {Topic: "t", Key: []byte{255}},
		{Topic: "wide"}} {
		topic := m.Topic
		m.Topic, m.Value, m.DeliverAt = "", []byte("value"), time.Date(2035, 1, i+1, 0, 0, 0, 0, time.UTC)
		handles = append(handles, d.publish(topic, m).Handle)
	}
	return d, handles
}

// reschedule asks for another time.
func (d *desk) reschedule(handle, body string) answer {
	d.t.Helper()
	return d.call("PATCH", delayedAt+"/"+handle, strings.NewReader(body), "Content-Type", "application/json")
}

func TestAdminDelayed(t *testing.T) {
	d, handles := openDelayed(t)
	names := strings.NewReplacer(handles[0], "0", handles[1], "1", handles[2], "2")
	for query, want := range map[string]string{
		"":                                 "0 1 2",
		"topic=t":                          "0 1",
		"key=a":                            "0",
		"key_base64=" + "/w==":             "1",
		"topic=wide&key=a":                 "",
		"from=2035-01-02T00:00:00Z":        "1 2",
		"to=2035-01-02T00:00:00Z":          "0",
		"from=0001-01-01T00:00:00Z":        "0 1 2",
		"from=9999-01-01T00:00:00Z":        "",
		"to=1970-01-01T00:00:00Z&limit=1":  "",
		"from=2035-01-01T01:00:00%2B01:00": "0 1 2",
	} {
		got := d.call("GET", delayedAt+"?"+query, nil)
		var found []string
		for _, m := range decode[admindoc.DelayedPage](t, got.body).Messages {
			found = append(found, names.Replace(m.Handle))
		}
		if text := strings.Join(found, " "); got.status != 200 || text != want {
			t.Errorf("?%s = %d %q, want %q", query, got.status, text, want)
		}
	}
	var pages []string
	for cursor := ""; len(pages) < 9; {
		page := decode[admindoc.DelayedPage](t, d.call("GET", delayedAt+"?limit=1&cursor="+cursor, nil).body)
		for _, m := range page.Messages {
			pages = append(pages, names.Replace(m.Handle))
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if got := strings.Join(pages, " "); got != "0 1 2" {
		t.Errorf("page by page: %s", got)
	}
	says(t, d.call("GET", delayedAt+"?key=a", nil), 200, `"topic":"t"`, `"partition":0`,
		`"due":"2035-01-01T00:00:00.000000000Z"`, `"key":"a"`, `"stored":"20`, `"bytes":`)
	for _, query := range []string{"key=a&key_base64=YQ==", "key_base64=%25", "cursor=x", "cursor=1.2"} {
		d.wants(d.call("GET", delayedAt+"?"+query, nil), query, 400, core.CodeInvalidRequest)
	}
	for _, query := range []string{"limit=0", "limit=1001", "from=soon", "to=2035-13-01T00:00:00Z"} {
		d.wants(d.call("GET", delayedAt+"?"+query, nil), query, 422, core.CodeInvalidRequest)
	}
	d.wants(d.call("GET", delayedAt+"?topic=nope", nil), "no such topic", 404, core.CodeTopicNotFound)
}

func TestAdminCancelDelayed(t *testing.T) {
	d, handles := openDelayed(t)
	cancel := func(handle string) answer { return d.call("DELETE", delayedAt+"/"+handle, nil) }
	for range 2 {
		says(t, cancel(handles[0]), 200, `"handle":"`+handles[0]+`"`, `"outcome":"cancelled"`)
	}
	d.wants(d.reschedule(handles[0], `{"delay_ms":1000}`), "cancelled", 409, core.CodeInvalidRequest,
		"cancelled")
	if err := d.bus.DeleteTopic(t.Context(), "wide"); err != nil {
		t.Fatal(err)
	}
	d.wants(cancel(handles[2]), "of a topic that is gone", 409, core.CodeInvalidRequest, "dropped")
	due := d.publish("t", leat.Message{Value: []byte("now"), Delay: time.Millisecond}).Handle
	d.published("t", 1)
	d.wants(cancel(due), "delivered", 409, core.CodeInvalidRequest, "fired")
	d.wants(d.reschedule(due, `{"delay_ms":1000}`), "delivered", 409, core.CodeInvalidRequest, "fired")
	for _, handle := range []string{"x", "d1.1.2.3", "d2.16.0.0.00000000"} {
		d.wants(cancel(handle), handle, 400, core.CodeInvalidRequest, "handle")
		d.wants(d.reschedule(handle, `{"delay_ms":1000}`), handle, 400, core.CodeInvalidRequest, "handle")
	}
	d.wants(cancel(strings.Repeat("x", 101)), "a long handle", 422, core.CodeInvalidRequest)
	const stranger = "d1.99.0.0.00000000"
	d.wants(cancel(stranger), "unknown", 404, core.CodeInvalidRequest, "no such message")
	d.wants(d.reschedule(stranger, `{"delay_ms":1000}`), "unknown", 404, core.CodeInvalidRequest,
		"no such message")
	says(t, d.call("GET", delayedAt, nil), 200, handles[1])
}

func TestAdminReschedule(t *testing.T) {
	d, handles := openDelayed(t)
	got := d.reschedule(handles[0], `{"deliver_at":"2035-01-05T01:00:00+01:00"}`)
	says(t, got, 200, `"handle":"`+handles[0]+`"`, `"outcome":"rescheduled"`,
		`"due":"2035-01-05T00:00:00.000000000Z"`)
	moved := decode[admindoc.Rescheduled](t, got.body)
	if moved.New == handles[0] || moved.New == "" {
		t.Errorf("the new handle is %q", moved.New)
	}
	says(t, d.call("GET", delayedAt+"?from=2035-01-05T00:00:00Z", nil), 200, moved.New, `"key":"a"`)
	d.wants(d.reschedule(handles[0], `{"delay_ms":1000}`), "the old handle", 409, core.CodeInvalidRequest,
		"rescheduled")
	d.wants(d.call("DELETE", delayedAt+"/"+handles[0], nil), "the old handle", 409, core.CodeInvalidRequest,
		"rescheduled")
	for body, status := range map[string]int{
		`{}`: 400,
		`{"delay_ms":1000,"deliver_at":"2035-01-01T00:00:00Z"}`: 400,
		`{"delay_ms":400000000000}`:                             400,
		`{"delay_ms":0}`:                                        422,
		`{"deliver_at":"soon"}`:                                 422,
		`{"delay":1}`:                                           422,
		``:                                                      400,
	} {
		d.wants(d.reschedule(moved.New, body), body, status, core.CodeInvalidRequest)
	}
	d.wants(d.reschedule(moved.New, `{"deliver_at":"2200-01-01T00:00:00Z"}`), "in 170 years", 422,
		core.CodeInvalidRecord)
	says(t, d.reschedule(moved.New, `{"deliver_at":"2001-01-01T00:00:00Z"}`), 200, `"rescheduled"`)
	says(t, d.reschedule(handles[1], `{"delay_ms":1}`), 200, `"rescheduled"`)
	keys := map[string]bool{}
	for _, m := range d.published("t", 2) {
		keys[base64.StdEncoding.EncodeToString(m.Key)] = true
	}
	if !keys["YQ=="] || !keys["/w=="] {
		t.Errorf("delivered: %v", keys)
	}
}
