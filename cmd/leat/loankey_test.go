package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/leatbus/leat/core"
)

func TestLoanKey(t *testing.T) {
	folder := t.TempDir()
	first, err := loanKey("", folder)
	if err != nil || len(first) != 32 {
		t.Fatalf("a new key: %d bytes, %v", len(first), err)
	}
	file := filepath.Join(folder, loanKeyName)
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if again, err := loanKey("", folder); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the key again: %x, %v; want %x", again, err, first)
	}
	if named, err := loanKey(file, "elsewhere"); err != nil || !bytes.Equal(named, first) {
		t.Errorf("a file that is named: %x, %v; want %x", named, err, first)
	}
	if other, err := loanKey("", t.TempDir()); err != nil || bytes.Equal(other, first) {
		t.Errorf("another folder: %x, %v", other, err)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ file, folder, text string }{
		"a short key": {"", folder, "5 bytes"}, "no file": {filepath.Join(folder, "no"), "", "no"},
		"no folder": {"", filepath.Join(folder, "no", "where"), loanKeyName},
	} {
		key, err := loanKey(tt.file, tt.folder)
		if key != nil || core.CodeOf(err) != core.CodeInvalidConfig || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %x, %v; want INVALID_CONFIG with %q", name, key, err, tt.text)
		}
	}
}

// TestLoanKeyOutlives: tokens that were given out before a restart are tokens of the door still, so that
// their answer tells what became of the lease.
func TestLoanKeyOutlives(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data, "--gateway", "127.0.0.1:0")
	if created := execute(t, t.Context(), "--server", s.listen, "topic", "create", "orders"); created.code != 0 {
		t.Fatalf("%+v", created)
	}
	type pulled struct {
		Messages []struct{ Token, Value string }
	}
	pull := func(door string) pulled {
		t.Helper()
		var page pulled
		status, body := post(t, "http://"+door+"/v1/topics/orders/groups/work/pull?wait=20", "")
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK ||
			len(page.Messages) != 1 || page.Messages[0].Value != "hello" {
			t.Fatalf("pull = %d %s, %v", status, body, err)
		}
		return page
	}
	answer := func(door, token, want string) {
		t.Helper()
		response, err := http.Post("http://"+door+"/v1/topics/orders/groups/work/ack", "application/json",
			strings.NewReader(`{"tokens":["`+token+`"]}`))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(response.Body); err != nil || !strings.Contains(body.String(), want) {
			t.Errorf("ack = %s %s, %v; want %s", response.Status, &body, err, want)
		}
	}
	if status, body := post(t, "http://"+s.door+"/v1/topics/orders/messages", "hello"); status != http.StatusOK {
		t.Fatalf("POST = %d %s", status, body)
	}
	before := pull(s.door)
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Fatalf("SIGTERM: exit code %d\n%s", code, s.log)
	}
	s = startServer(t, data, "--gateway", "127.0.0.1:0")
	answer(s.door, before.Messages[0].Token, "STALE_ACK")
	answer(s.door, "x", "INVALID_REQUEST")
	answer(s.door, pull(s.door).Messages[0].Token, `"done":1`)
}
