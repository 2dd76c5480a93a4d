package httpdoor

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/gateway/push"
	"github.com/leatbus/leat/mmaplog"
)

// openPush opens a door with push subscriptions that may reach this machine.
func openPush(t *testing.T, cfg Config) *desk {
	t.Helper()
	cfg.Push = &push.Options{Dir: "push", FS: mmaplog.Heap(), AllowHTTP: true,
		Guard: push.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	return open(t, cfg)
}

// push makes a request with a body in JSON.
func (d *desk) push(method, path, body string) answer {
	d.t.Helper()
	return d.call(method, "/v1/push"+path, strings.NewReader(body), "Content-Type", "application/json")
}

func TestPush(t *testing.T) {
	d := openPush(t, Config{})
	posts := make(chan http.Header, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		posts <- r.Header
	}))
	defer receiver.Close()
	says(t, d.call("GET", "/v1/push", nil), 200, `"subscriptions":[]`)

	got := d.push("POST", "", `{"name":"shop","topic":"t","url":"`+receiver.URL+`","paused":true,"rate":1000}`)
	if got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	made := decode[PushSecret](t, got.body)
	if !strings.HasPrefix(made.Secret, "whsec_") || made.State != "paused" || made.Group != "push.shop" ||
		made.Concurrency != 10 || made.TimeoutMS != 10_000 || made.MaxAttempts != 16 || made.RetryMinMS != 1000 ||
		made.RetryMaxMS != 3_600_000 || made.Rate != 1000 || made.Secrets != 1 {
		t.Errorf("%s", got.body)
	}
	for _, path := range []string{"", "/shop"} {
		got := d.call("GET", "/v1/push"+path, nil)
		says(t, got, 200, `"name":"shop"`, `"state":"paused"`)
		if strings.Contains(got.body, made.Secret) || strings.Contains(got.body, "whsec") {
			t.Errorf("GET %s shows the secret: %s", path, got.body)
		}
	}
	d.publish("t", leat.Message{Value: []byte("1")})
	says(t, d.push("POST", "/shop/resume", ""), 200, `"state":"running"`)
	header := <-posts
	if header.Get("Webhook-Signature") == "" || header.Get("Leat-Topic") != "t" {
		t.Errorf("%v", header)
	}
	says(t, d.push("POST", "/shop/pause", ""), 200, `"state":"paused"`)

	rotated := decode[PushSecret](t, d.push("POST", "/shop/secret", `{}`).body)
	if rotated.Secret == made.Secret || rotated.Secrets != 2 {
		t.Errorf("%+v", rotated)
	}
	const chosen = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	rotated = decode[PushSecret](t, d.push("POST", "/shop/secret", `{"secret":"`+chosen+`","keep_ms":0}`).body)
	if rotated.Secret != chosen || rotated.Secrets != 1 {
		t.Errorf("%+v", rotated)
	}

	if got := d.push("DELETE", "/shop", ""); got.status != 204 || got.body != "" {
		t.Errorf("DELETE = %d %s", got.status, got.body)
	}
	d.wants(d.call("GET", "/v1/push/shop", nil), "deleted", 404, core.CodeInvalidRequest)
}

func TestPushPages(t *testing.T) {
	d := openPush(t, Config{})
	for i, name := range []string{"shop", "a", "b"} {
		body := `{"name":"` + name + `","topic":"wide","url":"https://example.com/","paused":true}`
		if got := d.push("POST", "", body); got.status != 201 {
			t.Errorf("%d: %d %s", i, got.status, got.body)
		}
	}
	var page struct {
		Subscriptions []Push
		Next          string
	}
	var names []string
	for cursor := ""; ; cursor = page.Next {
		page.Next = ""
		got := d.call("GET", "/v1/push?limit=1&cursor="+cursor, nil)
		if err := json.Unmarshal([]byte(got.body), &page); err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Subscriptions {
			names = append(names, p.Name)
		}
		if page.Next == "" {
			break
		}
	}
	if strings.Join(names, " ") != "a b shop" {
		t.Errorf("pages: %v", names)
	}
}

func TestPushMistakes(t *testing.T) {
	d := openPush(t, Config{})
	body := func(change string) string {
		return `{"name":"p","topic":"t","url":"https://example.com/","paused":true` + change + `}`
	}
	if got := d.push("POST", "", body("")); got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	d.wants(d.push("POST", "", body("")), "twice", 409, core.CodeInvalidRequest, "there is a push subscription")
	d.wants(d.push("POST", "", `{"name":"q","topic":"x","url":"https://example.com/"}`), "no topic", 404,
		core.CodeTopicNotFound)
	for _, url := range []string{"https://10.0.0.1/", "https://[fd00:ec2::254]/", "ftp://example.com/",
		"https://u:p@example.com/", "x"} {
		got := d.push("POST", "", `{"name":"q","topic":"t","url":"`+url+`"}`)
		d.wants(got, url, 422, core.CodeInvalidConfig, "url")
	}
	for name, change := range map[string]string{"a field": `,"x":1`, "concurrency": `,"concurrency":257`,
		"a negative rate": `,"rate":-1`, "timeout": `,"timeout_ms":300001`, "attempts": `,"max_attempts":-2`,
		"pause": `,"retry_max_ms":86400001`, "text": `,"rate":"x"`} {
		d.wants(d.push("POST", "", body(change)), name, 422, core.CodeInvalidRequest)
	}
	for name, change := range map[string]string{"secret": `,"secret":"whsec_x"`, "short": `,"timeout_ms":1`,
		"pauses": `,"retry_min_ms":5000,"retry_max_ms":1000`} {
		text := strings.Replace(body(change), `"p"`, `"q"`, 1)
		d.wants(d.push("POST", "", text), name, 422, core.CodeInvalidConfig)
	}
	d.wants(d.push("POST", "", `{`), "no JSON", 400, core.CodeInvalidRequest)
	d.wants(d.push("POST", "", ``), "no body", 400, core.CodeInvalidRequest)
	d.wants(d.push("POST", "/p/secret", `{"secret":"x"}`), "a bad secret", 422, core.CodeInvalidConfig)
	d.wants(d.push("POST", "/p/secret", `{"keep_ms":-1}`), "keep", 422, core.CodeInvalidRequest)
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/pause"}, {"POST", "/resume"},
		{"POST", "/secret"}} {
		d.wants(d.push(call[0], "/none"+call[1], `{}`), call[0]+call[1], 404, core.CodeInvalidRequest,
			"there is no push subscription")
	}
	d.wants(d.call("GET", "/v1/push/a%20b", nil), "a bad name", 422, core.CodeInvalidRequest)
}

// TestPushAccess: they are for administrators, and a door without them has none.
func TestPushAccess(t *testing.T) {
	tokens := must(core.ParseTokens("all " + core.HashToken("o") + " publish:* read:*\n" +
		"root " + core.HashToken("a") + " admin\n"))
	d := openPush(t, Config{Tokens: tokens.Principal})
	for _, call := range [][2]string{{"GET", ""}, {"POST", ""}, {"GET", "/p"}, {"DELETE", "/p"},
		{"POST", "/p/pause"}, {"POST", "/p/resume"}, {"POST", "/p/secret"}} {
		name := call[0] + " " + call[1]
		d.wants(d.call(call[0], "/v1/push"+call[1], nil), name, 401, core.CodeUnauthenticated)
		d.wants(d.call(call[0], "/v1/push"+call[1], nil, "Authorization", "Bearer o"), name, 403, core.CodeDenied)
	}
	says(t, d.call("GET", "/v1/push", nil, "Authorization", "Bearer a"), 200, `"subscriptions":[]`)
	without := open(t, Config{})
	without.wants(without.call("GET", "/v1/push", nil), "a door without", 404, core.CodeInvalidRequest)
}

// TestPushDamage: a door whose subscriptions cannot be read does not open.
func TestPushDamage(t *testing.T) {
	fs := mmaplog.Heap()
	if err := fs.MkdirAll("push"); err != nil {
		t.Fatal(err)
	}
	f := must(fs.Open("push/subscriptions", mmaplog.Create))
	if _, err := f.WriteAt([]byte("rubbish"), 0); err != nil {
		t.Fatal(err)
	}
	d := open(t, Config{})
	_, err := Open(d.bus, Config{Listen: "127.0.0.1:0", Push: &push.Options{Dir: "push", FS: fs}})
	if core.CodeOf(err) != core.CodeCorrupt {
		t.Errorf("Open = %v", err)
	}
}
