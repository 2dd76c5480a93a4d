package push

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/leattest"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/node"
)

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

// posted is what a receiver was sent.
type posted struct {
	header http.Header
	body   string
	path   string
}

// receiver is an endpoint that keeps what it is sent, and answers as it is told.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex // guards the following
	got     []posted
	changed chan struct{}                                       // closed with each POST, and made anew
	answer  func(n int, w http.ResponseWriter, r *http.Request) // n: from 1; nil: 204
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	r := &receiver{t: t, changed: make(chan struct{}), answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	r.got = append(r.got, posted{request.Header, string(body), request.URL.Path})
	n, answer := len(r.got), r.answer
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(n, w, request)
}

func (r *receiver) answerBy(answer func(n int, w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// wait gives what was posted when there are n.
func (r *receiver) wait(n int) []posted {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		got, changed := r.got, r.changed
		r.mu.Unlock()
		if len(got) >= n {
			return got[:len(got):len(got)]
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("%d POSTs; want %d", len(got), n)
		}
	}
}

func status(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// bench is a bus with a topic t, and a pusher that may reach this machine.
type bench struct {
	t       *testing.T
	bus     *leat.Bus
	pusher  *Pusher
	options Options
	log     *lockedLog
}

// lockedLog is a log that is looked at while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newBench(t *testing.T) *bench {
	return newBenchOn(t, leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{})))
}

// overBuses runs a test on a bus of this process, and on one that is reached over the network, which is what
// the door of a node of a cluster has.
func overBuses(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Run("embedded", func(t *testing.T) { f(t, newBench(t)) })
	t.Run("dialed", func(t *testing.T) {
		t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
		served := leattest.New(t, leattest.WithTopic("t", leat.TopicConfig{}))
		server, err := node.Serve(t.Context(), served, node.ServeConfig{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
		bus, err := leat.Dial(t.Context(), server.Addr().String(), leat.WithUnreachableAfter(patience))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, newBenchOn(t, bus))
	})
}

func newBenchOn(t *testing.T, bus *leat.Bus) *bench {
	b := &bench{t: t, bus: bus, log: &lockedLog{}}
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	b.options = Options{Dir: "data/push", FS: mmaplog.Heap(), AllowHTTP: true, Guard: Guard{Allow: here},
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	b.open()
	t.Cleanup(func() { b.pusher.Close(patience) })
	return b
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.pusher, err = Open(b.bus, b.options); err != nil {
		b.t.Fatal(err)
	}
}

// add makes a subscription p of t, with pauses of a millisecond.
func (b *bench) add(url string, change func(*Config)) (secret string) {
	b.t.Helper()
	c := Config{Name: "p", Topic: "t", URL: url, RetryMin: time.Millisecond, RetryMax: 2 * time.Millisecond,
		Timeout: patience}
	if change != nil {
		change(&c)
	}
	secret, err := b.pusher.Add(b.t.Context(), c, "", false)
	if err != nil {
		b.t.Fatal(err)
	}
	return secret
}

func (b *bench) publish(messages ...leat.Message) {
	b.t.Helper()
	p, err := b.bus.Producer("t")
	if err != nil {
		b.t.Fatal(err)
	}
	defer p.Close()
	for _, m := range messages {
		if _, err := p.Publish(b.t.Context(), m); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) info() Info {
	b.t.Helper()
	i, err := b.pusher.Find("p")
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

// until looks until something holds.
func (b *bench) until(what string, holds func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within %v\n%+v\n%s", what, patience, b.pusher.List(), b.log)
		}
		<-time.After(time.Millisecond)
	}
}

// numbered are n messages whose values are their numbers.
func numbered(from, n int) (list []leat.Message) {
	for i := from; i < from+n; i++ {
		list = append(list, leat.Message{Key: []byte("k" + strconv.Itoa(i%3)), Value: []byte(strconv.Itoa(i))})
	}
	return list
}

// TestDelivers: every message is posted, signed, to the path of the URL; the secret is told once.
func TestDelivers(t *testing.T) { overBuses(t, testDelivers) }

func testDelivers(t *testing.T, b *bench) {
	r := newReceiver(t, nil)
	b.publish(numbered(0, 20)...)
	secret := b.add(r.URL+"/hook?a=b", nil)
	b.publish(numbered(20, 20)...)
	seen := map[string]bool{}
	for _, p := range r.wait(40) {
		if err := verify(secret, p.header, []byte(p.body), time.Now()); err != nil {
			t.Error(err)
		}
		if id := p.header.Get("Webhook-Id"); seen[p.body] || seen[id] || p.path != "/hook" ||
			p.header.Get("Leat-Attempt") != "1" {
			t.Errorf("%+v", p)
		} else {
			seen[p.body], seen[id] = true, true
		}
	}
	b.until("all are acked", func() bool { i := b.info(); return i.Delivered == 40 && i.InFlight == 0 })
	if i := b.info(); i.Failed != 0 || i.LastFault != nil || i.Paused || i.Stalled != "" || i.Secrets != 1 ||
		i.Config.Group != "push.p" || i.Created.IsZero() {
		t.Errorf("%+v", i)
	}
	if told := b.log.String() + fmt.Sprintf("%+v %#v", b.pusher.List(), b.pusher.List()); strings.Contains(told,
		secret[len(secretPrefix):]) {
		t.Errorf("the secret is shown: %s", told)
	}
	groups, err := b.bus.Groups(t.Context())
	if err != nil || len(groups) != 1 || groups[0].Group != "push.p" || groups[0].Mode != leat.GroupQueue {
		t.Errorf("groups = %+v, %v", groups, err)
	}
}

// TestRetries: what fails comes again, with the same id and a higher attempt, and Retry-After holds.
func TestRetries(t *testing.T) { overBuses(t, testRetries) }

func testRetries(t *testing.T, b *bench) {
	r := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 1:
			http.Error(w, "a riddle", http.StatusInternalServerError)
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case 4:
			panic(http.ErrAbortHandler)
		}
	})
	b.add(r.URL, nil)
	b.publish(numbered(0, 1)...)
	got := r.wait(5)
	for i, p := range got {
		if p.header.Get("Webhook-Id") != got[0].header.Get("Webhook-Id") || p.path != "/" ||
			p.header.Get("Leat-Attempt") != strconv.Itoa(i+1) {
			t.Errorf("POST %d: %+v", i+1, p)
		}
	}
	b.until("it is acked", func() bool { return b.info().Delivered == 1 })
	i := b.info()
	if i.Failed != 4 || i.LastFault == nil || i.LastFault.Attempt != 4 || i.LastFault.Status != 0 {
		t.Errorf("%+v", i)
	}

	r.answerBy(func(n int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, strings.Repeat("x", 5000)) // what is not read is no matter
	})
	b.publish(numbered(1, 1)...)
	b.until("it is refused for an hour", func() bool { return b.info().Failed == 5 })
	f := b.info().LastFault
	if f.Status != 429 || len(f.Body) != answerBytes || f.Offset != 1 || f.Partition != 0 || f.Time.IsZero() {
		t.Errorf("%+v", f)
	}
}

// TestDeadLetters: after the last attempt a message is with the dead letters of the group.
func TestDeadLetters(t *testing.T) {
	b := newBench(t)
	r := newReceiver(t, status(http.StatusBadRequest))
	b.add(r.URL, func(c *Config) { c.MaxAttempts = 3 })
	b.publish(numbered(0, 1)...)
	b.until("it is a dead letter", func() bool {
		letters, err := b.bus.DeadLetters(t.Context())
		return err == nil && len(letters) == 1 && letters[0].Pending() == 1 && letters[0].Group == "push.p"
	})
	if got := r.wait(3); len(got) != 3 {
		t.Errorf("%d POSTs; want 3", len(got))
	}
}

// TestOrdered: of a key one message is under way at a time, though one fails.
func TestOrdered(t *testing.T) {
	b := newBench(t)
	busy := map[string]bool{}
	var mu sync.Mutex
	var bad []string
	fails := map[string]int{"4": 2, "6": 1}
	r := newReceiver(t, nil)
	r.answerBy(func(_ int, w http.ResponseWriter, request *http.Request) {
		key := request.Header.Get("Leat-Key")
		mu.Lock()
		if busy[key] {
			bad = append(bad, key)
		}
		busy[key] = true
		mu.Unlock()
		body := request.Header.Get("Leat-Offset")
		mu.Lock()
		defer mu.Unlock()
		busy[key] = false
		if fails[body] > 0 {
			fails[body]--
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	b.add(r.URL, func(c *Config) { c.Ordered = true })
	b.publish(numbered(0, 30)...)
	got := r.wait(33)
	last := map[string]int{}
	for _, p := range got {
		n, err := strconv.Atoi(p.body)
		key := p.header.Get("Leat-Key")
		if err != nil || n < last[key] {
			t.Errorf("%d after %d of %s", n, last[key], key)
		}
		last[key] = n
	}
	mu.Lock()
	defer mu.Unlock()
	if len(bad) > 0 {
		t.Errorf("two at a time: %v", bad)
	}
}

// TestConcurrency: no more are under way than was said.
func TestConcurrency(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	r := newReceiver(t, func(int, http.ResponseWriter, *http.Request) { <-hold })
	b.add(r.URL, func(c *Config) { c.Concurrency = 3 })
	b.publish(numbered(0, 20)...)
	r.wait(3)
	if i := b.info(); i.InFlight != 3 {
		t.Errorf("%d under way; want 3", i.InFlight)
	}
	if n := len(r.wait(3)); n != 3 {
		t.Errorf("%d POSTs while three are not answered", n)
	}
	close(hold)
	r.wait(20)
}

// TestGone: 410 pauses the subscription, for good, and the message is not lost and not counted.
func TestGone(t *testing.T) { overBuses(t, testGone) }

func testGone(t *testing.T, b *bench) {
	r := newReceiver(t, status(http.StatusGone))
	b.add(r.URL, nil)
	b.publish(numbered(0, 1)...)
	b.until("it is paused", func() bool { return b.info().Paused })
	if i := b.info(); !strings.Contains(i.Reason, "410") || i.LastFault.Status != 410 {
		t.Errorf("%+v", i)
	}
	b.pusher.Close(patience)
	b.open()
	if i := b.info(); !i.Paused || !strings.Contains(i.Reason, "410") {
		t.Errorf("after a restart: %+v", i)
	}
	n := len(r.wait(1))
	r.answerBy(nil)
	if err := b.pusher.Resume(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	got := r.wait(n + 1)
	b.until("it is delivered", func() bool { return b.info().Delivered == 1 })
	if i := b.info(); i.Paused || i.Reason != "" || got[n].header.Get("Leat-Attempt") != "1" {
		t.Errorf("%+v, attempt %s", i, got[n].header.Get("Leat-Attempt"))
	}
}

// TestPauseAndRemove: nothing is posted meanwhile, and the group keeps its place.
func TestPauseAndRemove(t *testing.T) { overBuses(t, testPauseAndRemove) }

func testPauseAndRemove(t *testing.T, b *bench) {
	r := newReceiver(t, nil)
	b.add(r.URL, nil)
	b.publish(numbered(0, 5)...)
	b.until("all are acked", func() bool { return b.info().Delivered == 5 })
	for range 2 {
		if err := b.pusher.Pause(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
	}
	stopped := func() bool {
		groups, err := b.bus.Groups(t.Context())
		return err == nil && len(groups) == 1 && len(groups[0].Members) == 0
	}
	b.until("it has left the group", stopped)
	b.publish(numbered(5, 5)...)
	if i := b.info(); !i.Paused || i.Reason != "" {
		t.Errorf("%+v", i)
	}
	if err := b.pusher.Resume(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	r.wait(10)
	b.until("the others are acked", func() bool { return b.info().Delivered == 10 })
	if err := b.pusher.Remove(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	b.until("it has left the group", stopped)
	for name, err := range map[string]error{
		"remove": b.pusher.Remove(t.Context(), "p"), "pause": b.pusher.Pause(t.Context(), "p"),
		"resume": b.pusher.Resume(t.Context(), "p"),
	} {
		if core.CodeOf(err) != core.CodeInvalidRequest || !strings.Contains(err.Error(), ErrNotFound.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.pusher.Rotate(t.Context(), "p", "", 0); core.CodeOf(err) != core.CodeInvalidRequest {
		t.Errorf("rotate: %v", err)
	}
	b.publish(numbered(10, 1)...)
	b.add(r.URL, nil)
	if got := r.wait(11); got[10].body != "10" || len(got) != 11 {
		t.Errorf("made anew it begins with %+v", got[10:])
	}
}

// TestAddRefuses what can never work.
func TestAddRefuses(t *testing.T) {
	b := newBench(t)
	b.add("http://127.0.0.1:1/", func(c *Config) { c.RetryMin, c.RetryMax = time.Hour, time.Hour })
	b.pusher.Close(0)
	b.options.AllowHTTP, b.options.Guard.Allow = false, nil
	b.open()
	for name, tt := range map[string]struct {
		change func(*Config)
		secret string
		code   core.Code
		text   string
	}{
		"the name is taken": {func(c *Config) { c.Name = "p" }, "", core.CodeInvalidRequest, ErrExists.Error()},
		"no such topic":     {func(c *Config) { c.Topic = "x" }, "", core.CodeTopicNotFound, "x"},
		"a bad name":        {func(c *Config) { c.Name = "a/b" }, "", core.CodeInvalidName, "a/b"},
		"a bad URL":         {func(c *Config) { c.URL = "x" }, "", core.CodeInvalidConfig, "url"},
		"metadata": {func(c *Config) { c.URL = "https://169.254.169.254/" }, "", core.CodeInvalidConfig,
			"metadata"},
		"a bad secret": {func(*Config) {}, "whsec_x", core.CodeInvalidConfig, "secret"},
	} {
		c := Config{Name: "q", Topic: "t", URL: "https://example.com/"}
		tt.change(&c)
		_, err := b.pusher.Add(t.Context(), c, tt.secret, true)
		if core.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v; want %v with %q", name, err, tt.code, tt.text)
		}
	}
	if list := b.pusher.List(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

// TestGuardAtDial: a name that points at this machine is refused when it is resolved, whatever it was before.
func TestGuardAtDial(t *testing.T) {
	b, r := newBench(t), newReceiver(t, nil)
	b.pusher.Close(0)
	b.options.Guard.Allow = nil
	b.open()
	_, port, _ := strings.Cut(strings.TrimPrefix(r.URL, "http://"), ":")
	b.add("http://localhost:"+port+"/", func(c *Config) { c.MaxAttempts = 2 })
	b.publish(numbered(0, 1)...)
	b.until("it is refused", func() bool { return b.info().Failed >= 1 })
	if f := b.info().LastFault; !strings.Contains(f.Text, "refused to connect") ||
		!strings.Contains(f.Text, "loopback") {
		t.Errorf("%+v", f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) > 0 {
		t.Errorf("it was reached: %+v", r.got)
	}
	transport := b.pusher.client.Transport.(*http.Transport)
	if transport.Proxy != nil {
		t.Error("a proxy would be asked")
	}
}

// TestNoLongerAllowed: a subscription of a time when plain HTTP was allowed posts no more.
func TestNoLongerAllowed(t *testing.T) {
	b, r := newBench(t), newReceiver(t, nil)
	b.add(r.URL, nil)
	b.pusher.Close(patience)
	b.options.AllowHTTP = false
	b.open()
	b.publish(numbered(0, 1)...)
	b.until("it is refused", func() bool { return b.info().Failed >= 1 })
	if f := b.info().LastFault; !strings.Contains(f.Text, "not encrypted") {
		t.Errorf("%+v", f)
	}
}

// TestTLS: certificates are checked.
func TestTLS(t *testing.T) {
	b := newBench(t)
	r := newReceiver(t, nil)
	secure := httptest.NewUnstartedServer(r)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	b.add(secure.URL, nil)
	b.publish(numbered(0, 1)...)
	b.until("the certificate is refused", func() bool {
		f := b.info().LastFault
		return f != nil && strings.Contains(f.Text, "certificate")
	})
	b.pusher.Close(patience)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	b.options.TLS, b.options.AllowHTTP = &tls.Config{RootCAs: pool}, false
	b.open()
	if got := r.wait(1); got[0].body != "0" {
		t.Errorf("%+v", got)
	}
}

// TestRotation: while a secret is on its way out both sign.
func TestRotation(t *testing.T) {
	b, r := newBench(t), newReceiver(t, nil)
	first := b.add(r.URL, nil)
	second, err := b.pusher.Rotate(t.Context(), "p", "", time.Hour)
	if err != nil || second == first {
		t.Fatalf("Rotate = %q, %v", second, err)
	}
	check := func(n int, secrets map[string]bool) {
		t.Helper()
		b.publish(numbered(n, 1)...)
		p := r.wait(n + 1)[n]
		for secret, valid := range secrets {
			if err := verify(secret, p.header, []byte(p.body), time.Now()); (err == nil) != valid {
				t.Errorf("POST %d, secret %s: %v", n, secret, err)
			}
		}
	}
	check(0, map[string]bool{first: true, second: true})
	if i := b.info(); i.Secrets != 2 {
		t.Errorf("%d secrets", i.Secrets)
	}
	const chosen = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	if third, err := b.pusher.Rotate(t.Context(), "p", chosen, 0); err != nil || third != chosen {
		t.Fatalf("Rotate = %q, %v", third, err)
	}
	check(1, map[string]bool{first: false, second: false, chosen: true})
	file, err := b.pusher.store.load()
	if err != nil || len(file) != 1 || len(file[0].Secrets) != 1 || file[0].Secrets[0].text != chosen {
		t.Errorf("the file has %d secrets, %v", len(file[0].Secrets), err)
	}
	if _, err := b.pusher.Rotate(t.Context(), "p", "x", 0); core.CodeOf(err) != core.CodeInvalidConfig {
		t.Errorf("a bad secret: %v", err)
	}
}

// TestRestart: subscriptions, and how far they are, outlive the process.
func TestRestart(t *testing.T) {
	dir, r := t.TempDir(), newReceiver(t, nil)
	run := func(f func(b *bench)) {
		t.Helper()
		bus, err := node.Open(t.Context(), dir, node.WithTopic("t", leat.TopicConfig{}))
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, bus: bus, log: &lockedLog{}, options: Options{Dir: dir + "/push", AllowHTTP: true,
			Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}}
		b.open()
		f(b)
		b.pusher.Close(patience)
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
	run(func(b *bench) {
		b.add(r.URL, nil)
		b.publish(numbered(0, 3)...)
		r.wait(3)
	})
	run(func(b *bench) {
		b.publish(numbered(3, 2)...)
		r.wait(5)
		if err := b.pusher.Pause(t.Context(), "p"); err != nil {
			t.Error(err)
		}
	})
	run(func(b *bench) {
		if !b.info().Paused {
			t.Error("it is not paused any more")
		}
		if err := b.pusher.Resume(t.Context(), "p"); err != nil {
			t.Error(err)
		}
		b.publish(numbered(5, 1)...)
		r.wait(6)
	})
	seen := map[string]bool{}
	for _, p := range r.wait(6) {
		if seen[p.body] {
			t.Errorf("%s was posted twice", p.body)
		}
		seen[p.body] = true
	}
}

// TestStalls: a topic that is gone is told, and taken up again when it is there.
func TestStalls(t *testing.T) {
	b, r := newBench(t), newReceiver(t, nil)
	b.add(r.URL, nil)
	if err := b.bus.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	b.until("it is stalled", func() bool { return strings.Contains(b.info().Stalled, "LEAT-2003") })
	if err := b.bus.CreateTopic(t.Context(), "t", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	b.publish(numbered(0, 1)...)
	r.wait(1)
	b.until("it runs", func() bool { return b.info().Stalled == "" })
}

// TestCloseCutsOff: a receiver that does not answer holds nobody up for longer than the grace, and the
// message comes again, as the same attempt.
func TestCloseCutsOff(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	r := newReceiver(t, func(_ int, _ http.ResponseWriter, request *http.Request) {
		select {
		case <-hold:
		case <-request.Context().Done():
		}
	})
	defer close(hold)
	b.add(r.URL, nil)
	b.publish(numbered(0, 1)...)
	r.wait(1)
	b.pusher.Close(0)
	b.pusher.Close(0)
	if err := b.pusher.Pause(t.Context(), "p"); core.CodeOf(err) != core.CodeDraining {
		t.Errorf("after Close: %v", err)
	}
	r.answerBy(nil)
	b.open()
	if got := r.wait(2); got[1].header.Get("Leat-Attempt") != "1" || got[1].body != "0" {
		t.Errorf("%+v", got[1])
	}
}

// TestOpenRefusesDamage: none is lost silently.
func TestOpenRefusesDamage(t *testing.T) {
	b := newBench(t)
	b.pusher.Close(0)
	if err := b.options.FS.MkdirAll("data/push"); err != nil {
		t.Fatal(err)
	}
	f, err := b.options.FS.Open("data/push/subscriptions", mmaplog.Create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("rubbish"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b.bus, b.options); core.CodeOf(err) != core.CodeCorrupt {
		t.Errorf("Open = %v", err)
	}
}

// TestChangeWaitsItsTurn: who has no patience does not wait for another change.
func TestChangeWaitsItsTurn(t *testing.T) {
	b := newBench(t)
	<-b.pusher.turn
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.pusher.Pause(ctx, "p"); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("Pause = %v", err)
	}
	b.pusher.turn <- struct{}{}
}

// TestStoreFailureChangesNothing: what could not be stored is not done.
func TestStoreFailureChangesNothing(t *testing.T) {
	b, r := newBench(t), newReceiver(t, nil)
	fs := b.options.FS.(*mmaplog.MemFS)
	fs.FailWrites(fmt.Errorf("the disk is gone"))
	c := Config{Name: "p", Topic: "t", URL: r.URL}
	if _, err := b.pusher.Add(t.Context(), c, "", false); core.CodeOf(err) != core.CodeIO {
		t.Errorf("Add = %v", err)
	}
	if list := b.pusher.List(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	fs.FailWrites(nil)
	b.add(r.URL, nil)
}
