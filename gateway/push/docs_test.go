package push

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestDocumentedReceiver runs what docs/push.md gives receivers in Python on a POST of ours, and on others.
func TestDocumentedReceiver(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("there is no python3")
	}
	page, err := os.ReadFile("../../docs/push.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```python\n")
	code, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/push.md has no block of Python")
	}
	const body = `{"a":"ü"}`
	keys := testKeys(t)
	now := time.Now().UnixNano()
	keys[1].until = now + int64(time.Hour)
	keys[2].until = now + int64(time.Hour)
	type call struct {
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	}
	made := func(secret, body string, at int64) call {
		m := &leat.Message{Topic: "t", Value: []byte(body)}
		r, err := newRequest(t.Context(), "https://example.com/", keys[:2], m, at)
		if err != nil {
			t.Fatal(err)
		}
		headers := map[string]string{}
		for name := range r.Header {
			headers[strings.ToLower(name)] = r.Header.Get(name)
		}
		return call{secret, headers, body}
	}
	changed := made(keys[0].text, body, now)
	changed.Body += " "
	calls, err := json.Marshal([]call{made(keys[0].text, body, now), made(keys[1].text, body, now),
		made(keys[2].text, body, now), changed, made(keys[0].text, body, now-int64(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", "-c", code+`
import json, sys
for call in json.load(sys.stdin):
    print(verify(call["secret"], call["headers"], call["body"].encode()))
`)
	cmd.Stdin = strings.NewReader(string(calls))
	out, err := cmd.CombinedOutput()
	const want = "True True False False False"
	if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
		t.Errorf("%v: %s", err, out)
	}
}
