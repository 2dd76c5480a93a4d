package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serving is a leat serve that runs as a process of its own.
type serving struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *screen
	listen string
	http   string
	door   string // for messages over HTTP
	waited chan error
}

// process makes a command that is this program once more, in an environment that is the test's own.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	return cmd
}

// startServer starts leat serve on free ports and waits until it says that it serves.
func startServer(t *testing.T, data string, args ...string) *serving {
	t.Helper()
	needNode(t)
	s := &serving{t: t, log: newScreen("ready"), waited: make(chan error, 1)}
	all := []string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	s.cmd = process(t, append(all, args...)...)
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.waited <- s.cmd.Wait() }()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	select {
	case <-s.log.seen:
	case err := <-s.waited:
		t.Fatalf("leat serve ended: %v\n%s", err, s.log)
	case <-time.After(patience):
		t.Fatalf("leat serve is not ready within %v:\n%s", patience, s.log)
	}
	line := s.readyLine()
	s.listen, s.http, s.door = line["listen"].(string), line["http"].(string), line["gateway"].(string)
	return s
}

// readyLine gives the one line that says that it serves.
func (s *serving) readyLine() map[string]any {
	s.t.Helper()
	var found []string
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "ready") {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("%d lines with ready; want 1:\n%s", len(found), s.log)
	}
	return document(s.t, found[0])
}

// end sends a signal and gives the exit code.
func (s *serving) end(signal os.Signal) int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.waited:
	case <-time.After(2 * patience):
		s.t.Fatalf("leat serve does not end:\n%s", s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

// get asks the HTTP door.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(body))
}

func TestServe(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data, "--log-level", "error")
	line := s.readyLine()
	if line["data"] != data || line["took"] == "" || !strings.HasPrefix(s.listen, "127.0.0.1:") {
		t.Errorf("ready line %v", line)
	}
	for path, want := range map[string]string{"/livez": `{"live":true}`, "/readyz": `{"ready":true}`} {
		if code, body := get(t, "http://"+s.http+path); code != http.StatusOK || body != want {
			t.Errorf("%s = %d %s; want 200 %s", path, code, body, want)
		}
	}
	var out bytes.Buffer
	second := process(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--http", s.http)
	second.Stderr = &out
	_ = second.Run() // the exit code says it
	if code := second.ProcessState.ExitCode(); code != 1 || !strings.Contains(out.String(), "LEAT-3004") {
		t.Errorf("a second process on the folder: exit code %d, %s; want LOCKED", code, &out)
	}
	if code := s.end(syscall.SIGTERM); code != 0 {
		t.Errorf("SIGTERM: exit code %d; want 0\n%s", code, s.log)
	}
	again := startServer(t, data)
	if code := again.end(os.Interrupt); code != 0 || !strings.Contains(again.log.String(), `"msg":"stopped"`) {
		t.Errorf("SIGINT: exit code %d; want 0 and a last word\n%s", code, again.log)
	}
}

func TestServeRefuses(t *testing.T) {
	needNode(t)
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := t.TempDir()
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"--listen 0.0.0.0:0 --advertise 127.0.0.1:4740":               {2, "LEAT-5003"},
		"--listen 127.0.0.1:0 --http 0.0.0.0:0":                       {2, "LEAT-5003"},
		"--listen 127.0.0.1:0 --http 127.0.0.1:0 --gateway 0.0.0.0:0": {2, "LEAT-5003"},
		"--listen nowhere":                            {2, "LEAT-1001"},
		"--tls-cert a.crt":                            {2, "LEAT-1001"},
		"--log-level loud":                            {2, "LEAT-1001"},
		"--config absent.toml":                        {2, "absent.toml"},
		"--listen 127.0.0.1:0 --http 127.0.0.1:99999": {2, "LEAT-1001"},
		"extra": {2, "unexpected argument"},
	} {
		got := execute(t, t.Context(), append([]string{"serve", "--data", data}, strings.Fields(line)...)...)
		if got.code != want.code || got.stdout != "" || !strings.Contains(got.stderr, want.text) ||
			!strings.Contains(got.stderr, "hint: ") || strings.Contains(got.stderr, "ready") {
			t.Errorf("leat serve %s = %+v; want exit code %d and %s", line, got, want.code, want.text)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	got := execute(t, t.Context(), "serve", "--data", data, "--listen", "127.0.0.1:0",
		"--http", taken.Addr().String())
	if got.code != 1 || !strings.Contains(got.stderr, "in use") || !strings.Contains(got.stderr, "--http off") {
		t.Errorf("a taken address: %+v; want exit code 1", got)
	}
}
