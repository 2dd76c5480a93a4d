package main

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func TestTokenCreate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	made := document(t, ok(t, "token", "create", "root", "admin", "--file", file, "-o", "json"))
	secret := strings.TrimSpace(ok(t, "token", "create", "app", "publish:a.*", "read:b", "--file", file))
	f, err := openTokens(file, clock.System, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if p := f.principal(secret); p == nil || p.Name != "app" || len(p.Scopes) != 2 {
		t.Errorf("%s is %+v", secret, p)
	}
	if p := f.principal(made["secret"].(string)); p == nil || p.Name != "root" {
		t.Errorf("%v is %+v", made, p)
	}
	for line, part := range map[string]string{
		"token create x":                                              "SCOPE",
		"token create x admin":                                        "--file",
		"token create app admin --file " + file:                       "twice",
		"token create x all --file " + file:                           "LEAT-1001",
		"token create x admin --file " + filepath.Join(file, "below"): "LEAT-1001",
	} {
		got := execute(t, t.Context(), strings.Fields(line)...)
		if got.code != 2 || !strings.Contains(got.stderr, part) || !strings.Contains(got.stderr, "hint: ") &&
			!strings.Contains(got.stderr, "see: ") {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, part)
		}
	}
}

// TestTokenFile: it is read again when it has changed, a bad one is not taken, and what others may write
// neither.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if _, err := openTokens(file, clock.System, nil); err == nil {
		t.Error("an absent file was taken")
	}
	first, err := addToken(file, "first", []string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(0)
	f, err := openTokens(file, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	second, err := addToken(file, "second", []string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	if f.principal(second) != nil {
		t.Error("the file was read at once")
	}
	c.Advance(tokenEvery)
	if f.principal(second) == nil || f.principal(first) == nil {
		t.Error("the file was not read again")
	}
	if err := os.WriteFile(file, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Minute)
	if f.principal(second) == nil {
		t.Error("a broken file was taken")
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(file, 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := openTokens(file, c, nil); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may write: %v", err)
	}
}

// TestTokenFileIsGone: it is told once, those from before stay, and one that is there again is read.
func TestTokenFileIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	before, err := addToken(file, "before", []string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	c := clock.NewManual(0)
	f, err := openTokens(file, c, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.Advance(tokenEvery)
		if f.principal(before) == nil {
			t.Error("a token is gone with the file")
		}
	}
	if n := strings.Count(log.String(), "cannot be read again"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log.String())
	}
	after, err := addToken(file, "after", []string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(tokenEvery)
	if f.principal(after) == nil || f.principal(before) != nil {
		t.Error("the file that is there again was not read")
	}
}

// TestServeTokens: the door asks for them.
func TestServeTokens(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "tokens")
	secret, err := addToken(file, "app", []string{"read:*"})
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, filepath.Join(t.TempDir(), "data"), "--gateway", "127.0.0.1:0", "--gateway-tokens", file)
	url := "http://" + s.door + "/v1/topics"
	if status, body := get(t, url); status != http.StatusUnauthorized || !strings.Contains(body, "LEAT-5004") {
		t.Errorf("without a token: %d %s", status, body)
	}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("with a token: %s", response.Status)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log)
	}
}

// TestServeTokensOfClients: the QUIC door asks for them, and the command shows one.
func TestServeTokensOfClients(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	dir := t.TempDir()
	file, secretFile := filepath.Join(dir, "tokens"), filepath.Join(dir, "secret")
	root, err := addToken(file, "root", []string{"admin"})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := addToken(file, "reader", []string{"read:*"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secretFile, []byte(root+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, filepath.Join(dir, "data"), "--tokens", file)
	create := []string{"--server", s.listen, "topic", "create", "orders"}
	if got := execute(t, t.Context(), create...); got.code != 5 || !strings.Contains(got.stderr, "LEAT-5004") {
		t.Errorf("without a token: %+v", got)
	}
	t.Setenv("LEAT_TOKEN", reader)
	if got := execute(t, t.Context(), create...); got.code != 5 || !strings.Contains(got.stderr, "LEAT-5002") {
		t.Errorf("without the scope: %+v", got)
	}
	if got := execute(t, t.Context(), append(create, "--token-file", secretFile)...); got.code != 0 {
		t.Errorf("with the scope: %+v", got)
	}
	if got := execute(t, t.Context(), append(create, "--token-file", file)...); got.code != 2 {
		t.Errorf("with a file that is no secret: %+v", got)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.log)
	}
}
