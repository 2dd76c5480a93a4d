package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	httpdoor "github.com/leatbus/leat/gateway/http"
	"github.com/leatbus/leat/gateway/push"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/node"
)

// openPushDoor opens a door with push subscriptions to a bus of its own, whose topic trades has no messages,
// and makes it the one that commands call.
func openPushDoor(t *testing.T, cfg httpdoor.Config) (*httpdoor.Door, *leat.Bus) {
	t.Helper()
	bus, err := node.Open(t.Context(), "", node.InMemory(), node.WithTopic("trades", leat.TopicConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	cfg.Push = &push.Options{Dir: "push", FS: mmaplog.Heap(), AllowHTTP: true,
		Guard: push.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	door, err := httpdoor.Open(bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := door.Close(); err != nil {
			t.Error(err)
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("LEAT_GATEWAY", "http://"+door.Addr().String())
	return door, bus
}

func TestPush(t *testing.T) {
	d := newDesk(t)
	_, bus := openPushDoor(t, httpdoor.Config{})
	hook := make(chan struct{}, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusGone)
		_, _ = w.Write([]byte("no\x1b[31m more"))
		hook <- struct{}{}
	}))
	defer receiver.Close()
	if got := d.must("push ls"); !strings.HasPrefix(got, "NAME") || strings.Count(got, "\n") != 1 {
		t.Errorf("ls of none: %q", got)
	}
	secret := strings.TrimSpace(d.must("push add shop --topic trades --rate 5 --url " + receiver.URL))
	if !strings.HasPrefix(secret, "whsec_") {
		t.Errorf("the secret is %q", secret)
	}
	for _, line := range []string{"push ls", "push show shop", "push ls -o json", "push show shop -o yaml"} {
		if got := d.must(line); !strings.Contains(got, "running") || strings.Contains(got, secret) {
			t.Errorf("%s: %s", line, got)
		}
	}
	p, err := bus.Producer("trades")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), leat.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	<-hook
	for end := time.Now().Add(patience); !strings.Contains(d.must("push show shop"), "paused"); {
		if time.Now().After(end) {
			t.Fatalf("410 does not pause it:\n%s", d.must("push show shop"))
		}
	}
	shown := d.must("push show shop")
	for _, part := range []string{"410 Gone", `no\x1b[31m more`, "partition 0, offset 0, attempt 1", receiver.URL} {
		if !strings.Contains(shown, part) {
			t.Errorf("show lacks %s: %s", part, shown)
		}
	}
	second := document(t, d.must("push rotate shop --keep 1h -o json"))
	if second["secret"] == secret || second["secrets"] != 2.0 {
		t.Errorf("rotate: %v", second)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.must("push rotate shop --secret-file " + file); !strings.HasPrefix(got, "whsec_MfKQ9r8GKYq") {
		t.Errorf("rotate: %s", got)
	}
	if got := d.must("push pause shop") + d.must("push resume shop") + d.must("push rm shop"); got !=
		"paused shop\nresumed shop\nremoved shop\n" {
		t.Errorf("%s", got)
	}
	if got := d.must("push ls -o json"); strings.TrimSpace(got) != "[]" {
		t.Errorf("ls of none: %s", got)
	}
}

func TestPushErrors(t *testing.T) {
	d := newDesk(t)
	tokens, err := core.ParseTokens("root " + core.HashToken("hush") + " admin\nlow " + core.HashToken("low") +
		" read:*\n")
	if err != nil {
		t.Fatal(err)
	}
	openPushDoor(t, httpdoor.Config{Tokens: tokens.Principal})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("low\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.run("push ls"); got.code != 5 || !strings.Contains(got.stderr, "LEAT-5004") {
		t.Errorf("without a token: %+v", got)
	}
	t.Setenv("LEAT_TOKEN", "hush")
	got := d.run("push ls --token-file " + file)
	if got.code != 5 || !strings.Contains(got.stderr, "LEAT-5002") {
		t.Errorf("with a token for something else: %+v", got)
	}
	d.must("push add a --topic trades --url https://example.com --paused")
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{"))
	}))
	defer broken.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"push add a --topic trades --url https://example.com":           {2, "there is a push subscription"},
		"push add b --topic trades":                                     {2, "--url is missing"},
		"push add b --url https://example.com":                          {2, "--topic is missing"},
		"push add b --topic trades --url https://10.0.0.1":              {2, "private"},
		"push add b --topic none --url https://example.com":             {3, "LEAT-2003"},
		"push add b --topic trades --url x --retry-min 0s":              {2, "--retry-min"},
		"push add b --topic trades --url x --post-timeout 1us":          {2, "--post-timeout"},
		"push add b --topic trades --url x --secret-file /none":         {2, "read a secret"},
		"push add b --topic trades --url https://example.com --rate -1": {2, "rate"},
		"push add b/c --topic trades --url https://example.com":         {2, "name"},
		"push add":                             {2, "NAME"},
		"push show none":                       {3, "leat push ls"},
		"push show a/b":                        {2, "LEAT-2001"},
		"push rm none":                         {3, "there is no push subscription"},
		"push rotate a --keep -1s":             {2, "--keep"},
		"push ls --gateway nowhere":            {2, "--gateway"},
		"push ls --gateway http://127.0.0.1:1": {4, "leat serve --gateway"},
		"push ls --token-file /none":           {2, "read a secret"},
		"push ls --gateway " + broken.URL:      {1, "LEAT-4003"},
		"push ls --gateway " + other.URL:       {1, "status 404"},
		"push pasue a":                         {2, `did you mean "pause"?`},
	} {
		got := d.run(line)
		if got.code != want.code || !strings.Contains(got.stderr, want.text) || got.stdout != "" {
			t.Errorf("leat %s = %+v; want exit code %d and %q", line, got, want.code, want.text)
		}
		if strings.Contains(got.stderr, "hush") {
			t.Errorf("leat %s shows the token: %s", line, got.stderr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := d.feed(ctx, strings.NewReader(""), "push", "ls"); got.code != exitInterrupted {
		t.Errorf("interrupted: %+v", got)
	}
}

// TestServePush: a server posts, is killed, and goes on where it was.
func TestServePush(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	got := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Leat-Offset")
	}))
	defer receiver.Close()
	next := func(want string) {
		t.Helper()
		for {
			select {
			case offset := <-got:
				if offset == want {
					return
				}
			case <-time.After(patience):
				t.Fatalf("offset %s is not posted", want)
			}
		}
	}
	data := filepath.Join(t.TempDir(), "data")
	flags := []string{"--gateway", "127.0.0.1:0", "--push-allow", "127.0.0.0/8", "--push-allow-http"}
	s := startServer(t, data, flags...)
	mustRemote(t, s.listen, "", "topic create orders")
	door := "http://" + s.door
	mustRemote(t, s.listen, "", "push add shop --topic orders --gateway "+door+" --url "+receiver.URL)
	mustRemote(t, s.listen, "", "pub orders first")
	next("0")
	if code := s.end(syscall.SIGKILL); code == 0 {
		t.Error("killed, and exit code 0")
	}
	s = startServer(t, data, flags...)
	mustRemote(t, s.listen, "", "pub orders second")
	next("1")
	info, err := os.Stat(filepath.Join(data, "push", "subscriptions"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of subscriptions: %v, %v", info.Mode(), err)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log)
	}
}
