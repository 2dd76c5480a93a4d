package main

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// post sends a body to the HTTP door for messages.
func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	response, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestGateway: messages go in and out over HTTP, at a node that is alone and at one that reaches the
// partitions of another.
func TestGateway(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := t.TempDir()
	alone := startServer(t, filepath.Join(data, "alone"), "--gateway", "127.0.0.1:0")
	checkGateway(t, alone, alone.door)

	free := freeAddresses(t, 2)
	one, two := free[0], free[1]
	peers := "1=" + one + ",2=" + two
	first := startServer(t, filepath.Join(data, "1"), "--node", "1", "--peers", peers, "--listen", one,
		"--gateway", "127.0.0.1:0")
	second := startServer(t, filepath.Join(data, "2"), "--node", "2", "--peers", peers, "--listen", two,
		"--gateway", "127.0.0.1:0")
	checkGateway(t, first, second.door)
	for _, s := range []*serving{second, first, alone} {
		if code := s.end(syscall.SIGTERM); code != 0 {
			t.Errorf("SIGTERM: exit code %d; want 0\n%s", code, s.log)
		}
	}
	if off := startServer(t, filepath.Join(data, "off")); off.door != "off" {
		t.Errorf("without --gateway the door is at %s", off.door)
	}
}

// checkGateway publishes to both partitions of a topic over HTTP and reads them again.
func checkGateway(t *testing.T, s *serving, door string) {
	t.Helper()
	created := execute(t, t.Context(), "--server", s.listen, "topic", "create", "orders", "--partitions", "2")
	if created.code != 0 {
		t.Fatalf("%+v", created)
	}
	url := "http://" + door + "/v1/topics/orders/messages"
	for _, partition := range []string{"0", "1"} {
		if status, body := post(t, url+"?partition="+partition, "hello "+partition); status != http.StatusOK {
			t.Fatalf("POST = %d %s", status, body)
		}
	}
	status, body := get(t, url)
	if status != http.StatusOK || !strings.Contains(body, "hello 0") || !strings.Contains(body, "hello 1") {
		t.Errorf("GET = %d %s", status, body)
	}
}
