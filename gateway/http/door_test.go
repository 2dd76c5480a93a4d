package httpdoor

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/leattest"
	"github.com/leatbus/leat/transport/certs"
)

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

// desk is a door to a bus in memory, with a client.
type desk struct {
	t    *testing.T
	bus  *leat.Bus
	door *Door
	url  string
}

// open opens a door to a bus with a topic t of 1 partition, and a topic wide of 3.
func open(t *testing.T, cfg Config) *desk {
	t.Helper()
	bus := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{}),
		leattest.WithTopic("wide", leat.TopicConfig{Partitions: 3}))
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	door, err := Open(bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := door.Close(); err != nil {
			t.Error(err)
		}
	})
	return &desk{t, bus, door, "http://" + door.Addr().String()}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// call makes a request. headers are names and values in turn.
func (d *desk) call(method, path string, body io.Reader, headers ...string) answer {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		} else {
			request.Header.Add(headers[i], headers[i+1])
		}
	}
	return d.do(request)
}

func (d *desk) do(request *http.Request) answer {
	d.t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// wants fails the test unless the answer is a problem of this status and code.
func (d *desk) wants(got answer, name string, status int, code core.Code, parts ...string) {
	d.t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		d.t.Errorf("%s: %d %s is no problem: %v", name, got.status, got.body, err)
		return
	}
	if got.status != status || p.Status != status || p.Code != code.String() || p.Name != code.Info().Name {
		d.t.Errorf("%s = %d %s; want %d %v", name, got.status, got.body, status, code)
	}
	if got.header.Get("Content-Type") != problemType || p.Hint == "" || p.Detail == "" || p.Type == "" ||
		p.URL != p.Type || p.Title != code.Info().Text || p.Retryable != code.Info().Retryable {
		d.t.Errorf("%s: %s, incomplete: %s", name, got.header.Get("Content-Type"), got.body)
	}
	for _, part := range parts {
		if !strings.Contains(p.Detail, part) {
			d.t.Errorf("%s: detail %q lacks %q", name, p.Detail, part)
		}
	}
}

// decode reads a document.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// published gives the first n messages of a topic.
func (d *desk) published(topic string, n int) []*leat.Message {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	sub, err := d.bus.Subscribe(topic, leat.From(leat.Earliest))
	if err != nil {
		d.t.Fatal(err)
	}
	defer sub.Close()
	var all []*leat.Message
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			d.t.Fatal(err)
		}
		if all = append(all, m.Clone()); len(all) == n {
			return all
		}
	}
	d.t.Fatalf("%d messages in %s; want %d", len(all), topic, n)
	return nil
}

func (d *desk) publish(topic string, m leat.Message) leat.Receipt {
	d.t.Helper()
	p, err := d.bus.Producer(topic, leat.WithPartitioner(leat.Manual))
	if err != nil {
		d.t.Fatal(err)
	}
	defer p.Close()
	receipt, err := p.Publish(d.t.Context(), m)
	if err != nil {
		d.t.Fatal(err)
	}
	return receipt
}

func zipped(text string) *bytes.Buffer {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // memory
	_ = w.Close()
	return &b
}

// TestOpenRefuses: what would be open to all, and what makes no sense.
func TestOpenRefuses(t *testing.T) {
	bus := leattest.New(t)
	for name, tt := range map[string]struct {
		cfg  Config
		code core.Code
		text string
	}{
		"all addresses":    {Config{Listen: ":0"}, core.CodeInsecure, "ClientCAs"},
		"TLS of one side":  {Config{Listen: "0.0.0.0:0", TLS: &tls.Config{}}, core.CodeInsecure, "ClientCAs"},
		"no port":          {Config{Listen: "127.0.0.1"}, core.CodeInvalidConfig, "host:port"},
		"a negative drain": {Config{DrainFor: -1}, core.CodeInvalidConfig, "DrainFor"},
		"a negative limit": {Config{Limits: Limits{Streams: -1}}, core.CodeInvalidConfig, "Limits"},
	} {
		door, err := Open(bus, tt.cfg)
		if door != nil || core.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, %v; want %v with %q", name, door, err, tt.code, tt.text)
		}
	}
	first := open(t, Config{})
	if _, err := Open(bus,
		Config{Listen: first.door.Addr().String()}); core.CodeOf(err) != core.CodeInvalidConfig {
		t.Errorf("a taken address: %v", err)
	}
}

// TestMutualTLS: with certificates the door is open to those that have one, over HTTP/2 too.
func TestMutualTLS(t *testing.T) {
	ca, err := certs.NewAuthority("ours", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(spec certs.Spec) tls.Certificate {
		issued, err := ca.Issue(spec)
		if err != nil {
			t.Fatal(err)
		}
		return issued.TLS()
	}
	server := issue(certs.Spec{CommonName: "n", Hosts: []string{"127.0.0.1"}, Server: true})
	d := open(t, Config{Listen: "0.0.0.0:0", TLS: &tls.Config{Certificates: []tls.Certificate{server},
		ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}})
	_, port, _ := strings.Cut(strings.ReplaceAll(d.door.Addr().String(), "[::]", ""), ":")
	get := func(trust *tls.Config) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: patience}
		return client.Get("https://127.0.0.1:" + port + "/v1/topics")
	}
	client := issue(certs.Spec{CommonName: "c", Client: true})
	response, err := get(&tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{client}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Errorf("with a certificate: %s %s", response.Proto, response.Status)
	}
	if response, err := get(&tls.Config{RootCAs: ca.Pool()}); err == nil {
		response.Body.Close()
		t.Errorf("without a certificate: %s; want none", response.Status)
	}
}

// TestGuards: pages of other sites and names that others have made point here are turned away.
func TestGuards(t *testing.T) {
	d := open(t, Config{Hosts: []string{"bus.example"}})
	own := d.door.Addr().String()
	for name, tt := range map[string]struct {
		headers []string
		denied  string
	}{
		"by address":              {nil, ""},
		"by name":                 {[]string{"Host", "LOCALHOST:80"}, ""},
		"by IPv6 address":         {[]string{"Host", "[::1]"}, ""},
		"by a name that is given": {[]string{"Host", "bus.example:4742"}, ""},
		"by another name":         {[]string{"Host", "evil.example"}, "evil.example"},
		"by another address":      {[]string{"Host", "10.0.0.1:4742"}, "10.0.0.1"},
		"a page of the door":      {[]string{"Origin", "http://" + own}, ""},
		"a page of another site":  {[]string{"Origin", "https://evil.example"}, "evil.example"},
		"a page of no site":       {[]string{"Origin", "null"}, "null"},
	} {
		got := d.call("GET", "/v1/topics", nil, tt.headers...)
		switch {
		case tt.denied != "":
			d.wants(got, name, http.StatusForbidden, core.CodeDenied, tt.denied)
		case got.status != http.StatusOK:
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// TestUnknown: what no route takes.
func TestUnknown(t *testing.T) {
	d := open(t, Config{})
	d.wants(d.call("GET", "/v2/topics", nil), "path", http.StatusNotFound, core.CodeInvalidRequest, "/v2/topics")
	got := d.call("DELETE", "/v1/topics/t/messages", nil)
	d.wants(got, "method", http.StatusMethodNotAllowed, core.CodeInvalidRequest, "GET, HEAD, POST")
	if allow := got.header.Get("Allow"); allow != "GET, HEAD, POST" {
		t.Errorf("Allow: %s", allow)
	}
}

// TestLimits: of bodies, of what they are inflated to, of all bodies at once, and of streams.
func TestLimits(t *testing.T) {
	d := open(t, Config{Limits: Limits{BodyBytes: 2 << 20, PendingBytes: 1 << 20, Streams: 1}})
	path := "/v1/topics/t/messages"
	post := func(body io.Reader, headers ...string) answer { return d.call("POST", path, body, headers...) }
	large := strings.Repeat("x", 2<<20+1)
	d.wants(post(strings.NewReader(large)), "announced", 413, core.CodeRecordTooLarge, "2097152")
	d.wants(post(struct{ io.Reader }{strings.NewReader("x")}), "not announced", 429, core.CodeLimited,
		"PendingBytes")
	d.wants(post(strings.NewReader(large[:1<<20+1])), "all at once", 429, core.CodeLimited, "PendingBytes")
	if d.door.pending.Load() != 0 {
		t.Errorf("%d bytes are still reserved", d.door.pending.Load())
	}
	d.door.limits.PendingBytes = 1 << 30
	d.wants(post(struct{ io.Reader }{strings.NewReader(large)}), "chunked", 413, core.CodeRecordTooLarge)
	d.wants(post(zipped(large), "Content-Encoding", "gzip"), "inflated", 413, core.CodeRecordTooLarge)
	d.wants(post(zipped(large[:2<<20]), "Content-Encoding", "gzip"), "a bomb", 413, core.CodeRecordTooLarge,
		"64 times")
	if d.door.pending.Load() != 0 {
		t.Errorf("%d bytes are still reserved", d.door.pending.Load())
	}
	leave, err := d.door.enter()
	if err != nil {
		t.Fatal(err)
	}
	got := post(strings.NewReader("{}"), "Content-Type", ndjson)
	d.wants(got, "a second stream", 429, core.CodeLimited, "Limits.Streams")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	d.wants(d.call("GET", path, nil), "a read beside a stream", 429, core.CodeLimited)
	leave()
	if got := d.call("GET", path, nil); got.status != http.StatusOK {
		t.Errorf("a read after the stream: %d %s", got.status, got.body)
	}
}

// TestOpenAPI: the document is whole, and has what the door serves.
func TestOpenAPI(t *testing.T) {
	d := open(t, Config{Version: "v9"})
	got := d.call("GET", "/openapi.json", nil)
	document := map[string]any{}
	if err := json.Unmarshal([]byte(got.body), &document); err != nil {
		t.Fatal(err)
	}
	info := document["info"].(map[string]any)
	if version := document["openapi"].(string); !strings.HasPrefix(version, "3.1") || info["version"] != "v9" {
		t.Errorf("OpenAPI %v, version %v", version, info["version"])
	}
	operations := 0
	for path, item := range document["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			operations++
			o := operation.(map[string]any)
			probe, _ := http.NewRequest(strings.ToUpper(method), strings.ReplaceAll(path, "{topic}", "t"), nil)
			if _, pattern := d.door.mux.Handler(probe); pattern != strings.ToUpper(method)+" "+path {
				t.Errorf("%s %s is in the document, but %q serves it", method, path, pattern)
			}
			for _, field := range []string{"operationId", "summary", "tags", "responses"} {
				if o[field] == nil || o[field] == "" {
					t.Errorf("%s %s lacks %s", method, path, field)
				}
			}
			for status, response := range o["responses"].(map[string]any) {
				content, _ := response.(map[string]any)["content"].(map[string]any)
				if status >= "400" && content[problemType] == nil {
					t.Errorf("%s %s: %s is no problem: %v", method, path, status, content)
				}
			}
		}
	}
	if operations < 4 {
		t.Errorf("%d operations", operations)
	}
}

func TestTopics(t *testing.T) {
	d := open(t, Config{})
	d.publish("wide", leat.Message{Partition: 2, Value: []byte("x")})
	want := Topic{Name: "wide", Ack: "disk", MaxRecordBytes: 1 << 20,
		Partitions: []Partition{{0, 0, 0}, {1, 0, 0}, {2, 0, 1}}}
	got := decode[Topic](t, d.call("GET", "/v1/topics/wide", nil).body)
	if text, _ := json.Marshal(got); string(text) != string(must(json.Marshal(want))) {
		t.Errorf("topic %+v; want %+v", got, want)
	}
	type page struct {
		Topics []Topic `json:"topics"`
		Next   string  `json:"next"`
	}
	first := decode[page](t, d.call("GET", "/v1/topics?limit=1", nil).body)
	if len(first.Topics) != 1 || first.Topics[0].Name != "t" || first.Next != "t" {
		t.Errorf("first page %+v", first)
	}
	second := decode[page](t, d.call("GET", "/v1/topics?limit=1&after=t", nil).body)
	if len(second.Topics) != 1 || second.Topics[0].Name != "wide" || second.Next != "" {
		t.Errorf("second page %+v", second)
	}
	d.wants(d.call("GET", "/v1/topics?limit=0", nil), "limit", 422, core.CodeInvalidRequest, "limit")
	d.wants(d.call("GET", "/v1/topics/no", nil), "no topic", 404, core.CodeTopicNotFound, `"no"`)
	d.wants(d.call("GET", "/v1/topics/a%2Fb", nil), "no name", 422, core.CodeInvalidRequest, "topic")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestClosed: a door that closes says so to whom it still hears.
func TestClosed(t *testing.T) {
	d := open(t, Config{})
	d.door.stop()
	got := d.call("GET", "/v1/topics", nil)
	d.wants(got, "closing", http.StatusServiceUnavailable, core.CodeDraining)
}
