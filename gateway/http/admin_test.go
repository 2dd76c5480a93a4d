package httpdoor

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

func publishAll(t *testing.T, bus *leat.Bus, topic string, values ...string) {
	t.Helper()
	p, err := bus.Producer(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if _, err := p.Publish(t.Context(), leat.Message{Key: []byte("k" + v), Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// says fails the test unless the answer has a status and all parts.
func says(t *testing.T, got answer, status int, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got.body, part) {
			t.Errorf("%s lacks %s", got.body, part)
		}
	}
	if got.status != status {
		t.Errorf("status %d, want %d: %s", got.status, status, got.body)
	}
}

func TestAdminTopics(t *testing.T) {
	d := open(t, Config{})
	const at = "/api/v1/topics"
	says(t, d.call("PUT", at+"/new", strings.NewReader(`{"partitions":2,"ack":"page","retention_ms":0}`),
		"Content-Type", "application/json"), 201, `"partitions":2`, `"ack":"page"`, `"retention_ms":0`)
	d.wants(d.call("PUT", at+"/new", nil), "again", 409, core.CodeTopicExists)
	says(t, d.call("PUT", at+"/lives", strings.NewReader(`{"ttl_ms":1500,"dedup_window_ms":5000}`),
		"Content-Type", "application/json"), 201, `"ttl_ms":1500`, `"dedup_window_ms":5000`)
	spans := func(body string) answer {
		return d.call("PATCH", at+"/lives", strings.NewReader(body), "Content-Type", "application/json")
	}
	if got := spans(`{"ttl_ms":0}`); got.status != 200 || strings.Contains(got.body, "ttl_ms") {
		t.Errorf("without a time to live: %+v", got)
	}
	d.wants(spans(`{"dedup_window_ms":1}`), "a short window", 422, core.CodeInvalidConfig)
	d.wants(spans(`{"ttl_ms":9223372036854775807}`), "a long life", 422, core.CodeInvalidConfig)
	d.wants(spans(`{"ttl_ms":-1}`), "a negative life", 422, core.CodeInvalidRequest)
	says(t, d.call("DELETE", at+"/lives", nil), 200)
	says(t, d.call("PUT", at+"/plain", nil), 201, `"partitions":1`, `"ack":"disk"`)
	says(t, d.call("GET", at+"?limit=2", nil), 200, `"name":"new"`, `"name":"plain"`, `"next":"plain"`)
	says(t, d.call("GET", at+"?limit=2&cursor=plain", nil), 200, `"name":"t"`, `"name":"wide"`)
	says(t, d.call("GET", at+"?q=id", nil), 200, `"topics":[{"name":"wide"`)
	got := d.call("GET", at+"/new", nil)
	tag := got.header.Get("ETag")
	says(t, got, 200, `"name":"new"`, `"per_partition":[{"partition":0,`)
	alter := func(ifMatch string) answer {
		return d.call("PATCH", at+"/new", strings.NewReader(`{"max_record_bytes":2097152}`), "If-Match", ifMatch,
			"Content-Type", "application/json")
	}
	d.wants(alter(`"other"`), "another tag", http.StatusPreconditionFailed, core.CodeConfigMismatch)
	says(t, alter(tag), 200, `"max_record_bytes":2097152`)
	d.wants(alter(tag), "the tag of before", http.StatusPreconditionFailed, core.CodeConfigMismatch)
	d.wants(d.call("PATCH", at+"/new", strings.NewReader(`{}`), "Content-Type", "application/json"), "nothing",
		400, core.CodeInvalidRequest)
	says(t, d.call("GET", at+"/wide/partitions?limit=2", nil), 200, `"partition":0`, `"partition":1`, `"next":`)
	says(t, d.call("DELETE", at+"/new?dry_run=true", nil), 200, `"dry_run":true`, `"groups":[]`)
	d.wants(d.call("DELETE", at+"/new", nil, "If-Match", tag), "an old tag", 412, core.CodeConfigMismatch)
	says(t, d.call("DELETE", at+"/new", nil), 200, `"dry_run":false`)
	for _, path := range []string{"/new", "/new/partitions", "/new/messages", "/new/messages/0/0"} {
		d.wants(d.call("GET", at+path, nil), path, 404, core.CodeTopicNotFound)
	}
	d.wants(d.call("GET", at+"?limit=1001", nil), "a long page", 422, core.CodeInvalidRequest)
}

func TestAdminMessages(t *testing.T) {
	d := open(t, Config{})
	publishAll(t, d.bus, "t", "one", "two", "three")
	const at = "/api/v1/topics/t/messages"
	says(t, d.call("GET", at+"?limit=2&preview=2", nil), 200, `"value":"on"`, `"value_bytes":3`, `"next":"0:2"`,
		`"scanned":2`)
	says(t, d.call("GET", at+"?cursor=0:2", nil), 200, `"value":"three"`, `"scanned":1`)
	says(t, d.call("GET", at+"?key=ktwo&from=earliest&to=3", nil), 200, `"messages":[{`, `"value":"two"`)
	says(t, d.call("GET", at+"?key_base64=a3R3bw==", nil), 200, `"value":"two"`)
	says(t, d.call("GET", at+"?from=3", nil), 200, `"messages":[]`)
	says(t, d.call("GET", at+"/0/1", nil), 200, `"value":"two"`)
	d.publish("t", leat.Message{Key: []byte("kfour"), Value: []byte("four"), ID: "order 4", TTL: time.Hour})
	for _, query := range []string{"id=order+4", "id=order+4&key=kfour&filter=size==9",
		"id=order+4&partition=0"} {
		says(t, d.call("GET", at+"?"+query, nil), 200, `"offset":3`, `"id":"order 4"`, `"ttl_ms":3600000`,
			`"scanned":1`)
	}
	says(t, d.call("GET", at+"?id=order", nil), 200, `"messages":[]`, `"scanned":4`)
	got := d.call("GET", at+"?id=order&scan=2", nil)
	says(t, got, 200, `"messages":[]`, `"scanned":2`, `"next":"0:2"`)
	says(t, d.call("GET", at+"?id=order+4&cursor=0:2", nil), 200, `"offset":3`)
	d.wants(d.call("GET", at+"?id="+strings.Repeat("x", 129), nil), "a long id", 422, core.CodeInvalidRequest)
	d.wants(d.call("GET", at+"/0/4", nil), "no such message", 404, core.CodeOffsetOutOfRange)
	d.wants(d.call("GET", at+"/7/0", nil), "no such partition", 404, core.CodePartitionUnknown)
	for _, query := range []string{"from=x", "to=x", "cursor=x", "cursor=0:-2",
		"key=a&key_base64=YQ==", "key_base64=%25"} {
		d.wants(d.call("GET", at+"?"+query, nil), query, 400, core.CodeInvalidRequest)
	}
}

func TestAdminGroups(t *testing.T) {
	d := open(t, Config{})
	publishAll(t, d.bus, "t", "one", "two", "three")
	sub, err := d.bus.Subscribe("t", leat.Group("g"))
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range sub.Messages(t.Context()) {
		if err != nil || m.Ack() != nil {
			t.Fatal(err)
		}
		break
	}
	if err := sub.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	reset := func(query, body string) answer {
		return d.call("POST", "/api/v1/groups/g/reset"+query, strings.NewReader(body), "Content-Type",
			"application/json")
	}
	d.wants(reset("?dry_run=true", `{"topic":"t","to":"earliest"}`), "with members", 409, core.CodeGroupActive)
	d.wants(d.call("DELETE", "/api/v1/groups/g?topic=t", nil), "with members", 409, core.CodeGroupActive)
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	says(t, d.call("GET", "/api/v1/groups", nil), 200, `"group":"g"`, `"topic":"t"`, `"lag":2`, `"lag_seconds":`)
	says(t, d.call("GET", "/api/v1/groups?q=x", nil), 200, `"groups":[]`)
	says(t, d.call("GET", "/api/v1/groups/g", nil), 200, `"committed":1`, `"lag":2`)
	says(t, reset("?dry_run=true", `{"topic":"t","to":"latest"}`), 200, `"from":1`, `"to":3`, `"dry_run":true`,
		`"to":"latest"`)
	d.wants(reset("", `{"topic":"t","to":"9"}`), "beyond the log", 416, core.CodeOffsetOutOfRange)
	d.wants(reset("", `{"topic":"t","to":"x"}`), "no position", 400, core.CodeInvalidRequest)
	says(t, reset("", `{"topic":"t","to":"earliest"}`), 200, `"from":1`, `"to":0`, `"dry_run":false`)
	says(t, d.call("DELETE", "/api/v1/groups/g?topic=t&dry_run=true", nil), 200, `"dry_run":true`, `"lag":3`)
	says(t, d.call("DELETE", "/api/v1/groups/g?topic=t", nil), 200, `"dry_run":false`)
	d.wants(d.call("GET", "/api/v1/groups/g", nil), "forgotten", 404, core.CodeGroupNotFound)
}

// TestAdminQueueGroup: a queue group tells where its messages stand, a stream group does not.
func TestAdminQueueGroup(t *testing.T) {
	d := open(t, Config{})
	publishAll(t, d.bus, "t", "one", "two", "three")
	sub, err := d.bus.Subscribe("t", leat.Group("g"), leat.KeyShared(), leat.MaxHeld(2))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for m, err := range sub.Messages(t.Context()) {
		if err != nil || m.Nack(time.Hour) != nil {
			t.Fatal(err)
		}
		break
	}
	says(t, d.call("GET", "/api/v1/groups", nil), 200, `"mode":"key-shared"`, `"lag":3`, `"delayed":1`,
		`"ready":`)
	says(t, d.call("GET", "/api/v1/groups/g", nil), 200, `"per_partition":[{"partition":0,`, `"leased":`)
	stream, err := d.bus.Subscribe("t", leat.Group("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got := d.call("GET", "/api/v1/groups/s", nil)
	if says(t, got, 200, `"mode":"stream"`); strings.Contains(got.body, "ready") {
		t.Errorf("a stream group tells %s", got.body)
	}
}

func TestAdminCluster(t *testing.T) {
	d := open(t, Config{})
	says(t, d.call("GET", "/api/v1/cluster", nil), 200, `"nodes":[{`, `"topics":2`, `"all":4`, `"down":0`)
	says(t, d.call("GET", "/api/v1/nodes", nil), 200, `"up":true`, `"partitions":4`)
	says(t, d.call("GET", "/openapi.json", nil), 200, "/api/v1/groups/{group}/reset", "If-Match", "dry_run")
}
