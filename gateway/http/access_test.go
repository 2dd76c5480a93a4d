package httpdoor

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/leattest"
)

// TestAccess asks for every operation of the document with tokens that may do something else, and with none.
func TestAccess(t *testing.T) {
	tokens := must(core.ParseTokens("other " + core.HashToken("o") + " publish:other read:other\n" +
		"reader " + core.HashToken("r") + " read:t\nwriter " + core.HashToken("w") + " publish:*\n" +
		"root " + core.HashToken("a") + " admin\n"))
	d := open(t, Config{Tokens: tokens.Principal})
	operations := 0
	for path, item := range d.door.api.OpenAPI().Paths {
		for method, op := range map[string]any{"GET": item.Get, "POST": item.Post, "PUT": item.Put,
			"PATCH": item.Patch, "DELETE": item.Delete} {
			path := strings.ReplaceAll(path, "{topic}", "t")
			name := method + " " + path
			if _, pattern := d.door.mux.Handler(must(http.NewRequest(method, path, nil))); pattern == "/" ||
				op == nil {
				continue
			}
			operations++
			d.wants(d.call(method, path, nil), name, 401, core.CodeUnauthenticated, "Authorization")
			got := d.call(method, path, nil, "Authorization", "Bearer x")
			d.wants(got, name, 401, core.CodeUnauthenticated, "no token")
			if got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q", name, got.header.Get("WWW-Authenticate"))
			}
			if path == "/v1/topics" || path == "/v1/ws" { // look at each topic themselves
				continue
			}
			d.wants(d.call(method, path, nil, "Authorization", "Bearer o"), name, 403, core.CodeDenied, `"other"`)
		}
	}
	if operations < 5 {
		t.Errorf("%d operations", operations)
	}
	d.wants(d.call("GET", "/openapi.json", nil), "document", 401, core.CodeUnauthenticated)
	for _, tt := range []struct {
		secret, method, path string
		want                 int
	}{
		{"r", "GET", "/v1/topics/t/messages", 200}, {"r", "GET", "/v1/topics/wide/messages", 403},
		{"r", "POST", "/v1/topics/t/messages", 403}, {"r", "GET", "/v1/topics/t", 200},
		{"r", "GET", "/v1/topics/wide", 403}, {"r", "GET", "/openapi.json", 200},
		{"w", "POST", "/v1/topics/t/messages", 200}, {"w", "GET", "/v1/topics/t/messages", 403},
		{"w", "GET", "/v1/topics/t/events", 403}, {"a", "POST", "/v1/topics/wide/messages", 200},
		{"a", "GET", "/v1/topics/t/messages", 200},
	} {
		got := d.call(tt.method, tt.path, nil, "Authorization", "bearer "+tt.secret)
		if got.status != tt.want {
			t.Errorf("%s of %s: %s = %d %s; want %d", tt.method, tt.secret, tt.path, got.status, got.body, tt.want)
		}
	}
	for secret, want := range map[string]string{"r": "t", "w": "t wide", "o": ""} {
		var names []string
		list := decode[struct{ Topics []Topic }](t, d.call("GET", "/v1/topics", nil, "Authorization",
			"Bearer "+secret).body)
		for _, topic := range list.Topics {
			names = append(names, topic.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("topics of %s: %s; want %s", secret, got, want)
		}
	}
	if err := authorize(t.Context(), "anything new", "t"); err != nil {
		t.Errorf("without rules: %v", err)
	}
}

// TestTokensBeyondThisMachine: with TLS they are enough; without it they would be told to all.
func TestTokensBeyondThisMachine(t *testing.T) {
	bus := leattest.New(t)
	nobody := func(string) *core.Principal { return nil }
	if _, err := Open(bus, Config{Listen: "0.0.0.0:0", Tokens: nobody}); core.CodeOf(err) != core.CodeInsecure {
		t.Errorf("without TLS: %v", err)
	}
	door, err := Open(bus, Config{Listen: "0.0.0.0:0", Tokens: nobody, TLS: &tls.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Close(); err != nil {
		t.Error(err)
	}
}
