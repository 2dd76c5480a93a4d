package httpdoor

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const lettersAt = "/api/v1/dead-letters"

// openLetters has four letters of group g on topic t, and a message that somebody else published among them.
func openLetters(t *testing.T) *desk {
	d := open(t, Config{})
	if err := d.bus.CreateTopic(t.Context(), "t.dlq.g", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	codes := []core.Code{core.CodeRejected, core.CodeAttemptsExhausted}
	for i := range int64(4) {
		origin := core.DeadLetterOrigin{Topic: "t", Offset: 10 + i, Time: 1767225600_000_000_000, Group: "g",
			Attempts: 3, Code: codes[i%2], Reason: "no price"}
		m := leat.Message{Key: []byte{'a' + byte(i)}}
		m.Value, m.Headers = origin.Wrap([]byte("value"), []leat.Header{{Key: "region", Value: []byte("eu")}})
		d.publish("t.dlq.g", m)
	}
	d.publish("t.dlq.g", leat.Message{Value: []byte{0xff}})
	return d
}

// post starts a job, waits for its end, and tells how it ended.
func (d *desk) post(path, body string) Job {
	d.t.Helper()
	got := d.call("POST", lettersAt+path, strings.NewReader(body), "Content-Type", "application/json")
	says(d.t, got, 202, `"id":`)
	started := decode[Job](d.t, got.body)
	if at := got.header.Get("Location"); at != "/api/v1/jobs/"+started.ID {
		d.t.Errorf("Location %q of job %s", at, started.ID)
	}
	j, err := d.door.jobs.find(started.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	select {
	case <-j.ended:
	case <-ctx.Done():
		d.t.Fatalf("the job does not end: %+v", j.now())
	}
	return decode[Job](d.t, d.call("GET", "/api/v1/jobs/"+started.ID, nil).body)
}

func TestAdminDeadLetters(t *testing.T) {
	d := openLetters(t)
	says(t, d.call("GET", lettersAt, nil), 200, `"name":"t.dlq.g"`, `"topic":"t"`, `"group":"g"`, `"pending":5`)
	says(t, d.call("GET", lettersAt+"?q=x", nil), 200, `"topics":[]`)
	says(t, d.call("GET", lettersAt+"/t.dlq.g", nil), 200, `"pending":5`, `"redriven":0`, `"dropped":0`)
	d.wants(d.call("GET", lettersAt+"/t", nil), "no letters", 404, core.CodeTopicNotFound)

	const at = lettersAt + "/t.dlq.g/messages"
	says(t, d.call("GET", at+"?limit=1&preview=2", nil), 200, `"key":"a"`, `"value":"va"`, `"value_bytes":5`,
		`"code":"LEAT-7002"`, `"attempts":3`, `"reason":"no price"`, `"group":"g"`, `"offset":10`, `"next":"0:1"`)
	for query, want := range map[string]string{
		"":                             "a b c d ?",
		"limit=2":                      "a b",
		"cursor=0:3":                   "d ?",
		"partition=0&cursor=0:4":       "?",
		"key=b":                        "b",
		"key_base64=Yw==":              "c",
		"code=rejected":                "a c",
		"code=7003":                    "b d",
		"code=LEAT-7003&limit=1":       "b",
		"header=region=eu":             "a b c d",
		"header=region=eu&header=x=":   "",
		"since=2026-01-01T00:00:00Z":   "a b c d ?",
		"since=2261-01-01T00:00:00Z":   "",
		"until=1970-01-02T00:00:00Z":   "",
		"until=2261-01-01T00:00:00Z":   "a b c d ?",
		"partition=0&key=a&code=99":    "",
		"partition=-1&key=d&preview=0": "d",
	} {
		got := d.call("GET", at+"?"+query, nil)
		var keys []string
		for _, l := range decode[LetterPage](t, got.body).Letters {
			key := "?"
			if l.Key != nil {
				key = *l.Key
			}
			if keys = append(keys, key); (l.Origin == nil) != (key == "?") {
				t.Errorf("%s: the origin of %s is %+v", query, key, l.Origin)
			}
		}
		if found := strings.Join(keys, " "); got.status != 200 || found != want {
			t.Errorf("?%s = %d %q, want %q", query, got.status, found, want)
		}
	}
	for _, query := range []string{"cursor=x", "cursor=1:0", "partition=0&cursor=3:0", "key=a&key_base64=YQ==",
		"key_base64=%25", "code=x", "code=0", "code=70000", "header=region", "header==eu",
		"since=1969-01-01T00:00:00Z", "until=2300-01-01T00:00:00Z"} {
		d.wants(d.call("GET", at+"?"+query, nil), query, 400, core.CodeInvalidRequest)
	}
	for _, query := range []string{"limit=0", "limit=1001", "since=soon", "preview=-1", "partition=-2"} {
		d.wants(d.call("GET", at+"?"+query, nil), query, 422, core.CodeInvalidRequest)
	}
	d.wants(d.call("GET", at+"?partition=7", nil), "no such partition", 404, core.CodePartitionUnknown)
	d.wants(d.call("GET", lettersAt+"/other/messages", nil), "no letters", 404, core.CodeTopicNotFound)
}

func TestAdminRedriveAndDrop(t *testing.T) {
	d := openLetters(t)
	check := func(path, body, kind string, pending, done int64) {
		t.Helper()
		j := d.post("/t.dlq.g/"+path, body)
		if j.State != "done" || j.Kind != kind || j.Pending != pending || j.Done != done || j.Ended == nil {
			t.Errorf("%s %s = %+v; want %d of %d", path, body, j, done, pending)
		}
	}
	check("redrive?dry_run=true", `{"code":"REJECTED"}`, "redrive", 5, 2)
	check("drop?dry_run=true", `{}`, "drop", 5, 5)
	check("redrive", `{"code":"LEAT-7003","limit":1,"rate":1000}`, "redrive", 5, 1)
	check("redrive", `{"key":"a","to":"wide"}`, "redrive", 4, 1)
	check("drop", `{"headers":["region=eu"],"since":"2026-01-01T00:00:00Z","limit":1}`, "drop", 3, 1)
	says(t, d.call("GET", lettersAt, nil), 200, `"pending":2`, `"redriven":2`, `"dropped":1`)
	for topic, key := range map[string]string{"t": "b", "wide": "a"} {
		m := d.published(topic, 1)[0]
		if string(m.Key) != key || string(m.Value) != "value" || fmt.Sprint(m.Headers) != "[{region [101 117]}]" {
			t.Errorf("%s has %q %q %v", topic, m.Key, m.Value, m.Headers)
		}
	}
	if err := d.bus.CreateTopic(t.Context(), "small", leat.TopicConfig{MaxRecordBytes: 20}); err != nil {
		t.Fatal(err)
	}
	j := d.post("/t.dlq.g/redrive", `{"to":"small","key":"d"}`)
	if j.Failed != 1 || j.Done != 0 || j.FirstFailure == nil || j.FirstFailure.Code != "LEAT-2004" {
		t.Errorf("a letter that is too large: %+v", j)
	}

	post := func(path, body string) answer {
		return d.call("POST", lettersAt+path, strings.NewReader(body), "Content-Type", "application/json")
	}
	for _, verb := range []string{"redrive", "drop"} {
		d.wants(post("/t/"+verb, `{}`), "no letters", 404, core.CodeTopicNotFound)
		d.wants(post("/t.dlq.g/"+verb, `{"code":"x"}`), "no code", 400, core.CodeInvalidRequest)
		d.wants(post("/t.dlq.g/"+verb, `{"limit":-1}`), "limit", 422, core.CodeInvalidRequest)
		d.wants(post("/t.dlq.g/"+verb, `{"kee":"a"}`), "no such field", 422, core.CodeInvalidRequest)
		d.wants(post("/t.dlq.g/"+verb, ``), "no body", 400, core.CodeInvalidRequest)
	}
	d.wants(post("/t.dlq.g/redrive", `{"rate":-1}`), "rate", 422, core.CodeInvalidRequest)
	d.wants(post("/t.dlq.g/redrive", `{"to":"t.dlq.g"}`), "to itself", 400, core.CodeInvalidRequest)
	d.wants(post("/t.dlq.g/redrive", `{"to":"nowhere"}`), "to nowhere", 404, core.CodeTopicNotFound)
	says(t, d.call("GET", lettersAt, nil), 200, `"pending":2`)
}

func TestAdminJobs(t *testing.T) {
	d := openLetters(t)
	post := func(path, body string) answer {
		return d.call("POST", lettersAt+path, strings.NewReader(body), "Content-Type", "application/json")
	}
	says(t, d.call("GET", "/api/v1/jobs", nil), 200, `"jobs":[]`)
	slow := decode[Job](t, post("/t.dlq.g/redrive", `{"rate":0.0001}`).body)
	if slow.State != "running" {
		t.Fatalf("%+v; want it to run for hours", slow)
	}
	at := "/api/v1/jobs/" + slow.ID
	says(t, d.call("GET", at, nil), 200, `"state":"running"`)
	d.wants(post("/t.dlq.g/drop", `{}`), "two jobs", 409, core.CodeRedriving, slow.ID)
	if j := d.post("/t.dlq.g/drop?dry_run=true", `{}`); j.State != "done" {
		t.Errorf("a dry run beside a job: %+v", j)
	}
	says(t, d.call("DELETE", at, nil), 200, `"state":"cancelled"`, `"ended":`)
	says(t, d.call("DELETE", at, nil), 200, `"state":"cancelled"`)
	if list := decode[struct{ Jobs []Job }](t, d.call("GET", "/api/v1/jobs", nil).body).Jobs; len(list) != 2 ||
		list[1].ID != slow.ID || list[0].Kind != "drop" {
		t.Errorf("jobs = %+v", list)
	}
	d.wants(d.call("GET", "/api/v1/jobs/x", nil), "no such job", 404, core.CodeInvalidRequest)
	d.wants(d.call("DELETE", "/api/v1/jobs/x", nil), "no such job", 404, core.CodeInvalidRequest)

	left := decode[Job](t, post("/t.dlq.g/redrive", `{"rate":0.0001}`).body)
	j, err := d.door.jobs.find(left.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.door.Close(); err != nil { // must not wait for hours
		t.Fatal(err)
	}
	if state := j.now().State; state != "cancelled" {
		t.Errorf("a job behind a closed door is %s", state)
	}
	_, err = d.door.startJob(Job{Kind: "drop", Topic: "t.dlq.g"}, nil)
	if core.CodeOf(err) != core.CodeDraining {
		t.Errorf("a job begins behind a closed door: %v", err)
	}
}

func TestJobsAreBounded(t *testing.T) {
	var s jobs
	enter := func(topic string) (*job, error) {
		j := &job{ended: make(chan struct{}), doc: Job{Kind: "drop", Topic: topic, State: "running"}}
		return j, s.add(j)
	}
	end := func(j *job) {
		j.end(t.Context(), j.doc.Started, nil)
		s.group.Done()
	}
	var first *job
	for i := range runningMost {
		j, err := enter(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = j
		} else {
			defer end(j)
		}
	}
	if _, err := enter("more"); core.CodeOf(err) != core.CodeLimited {
		t.Errorf("job %d: %v", runningMost+1, err)
	}
	end(first)
	for i := range jobsMost {
		j, err := enter("next")
		if err != nil {
			t.Fatal(i, err)
		}
		end(j)
	}
	if _, err := s.find("-1"); err == nil {
		t.Error("the job that ended first is remembered")
	}
	if list := s.list(); len(list) != jobsMost || list[jobsMost-1].ID != "-2" || list[0].Topic != "next" {
		t.Errorf("%d jobs, the oldest is %+v", len(list), list[len(list)-1])
	}
}
