package nettest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/netfault"
)

// server is one `leat serve` on a fixed folder and port, started as often as a test wants.
type server struct {
	t       *testing.T
	dir     string
	address string
	http    string
	flags   []string

	cmd   *exec.Cmd
	log   *lineLog
	ended chan error
}

// newServer picks a free port and starts the server.
func newServer(t *testing.T, flags ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), address: freeAddress(t), http: freeHTTP(t), flags: flags}
	s.start()
	t.Cleanup(func() {
		if s.cmd != nil {
			s.terminate()
		}
	})
	return s
}

// freeAddress is a UDP address on this machine that nobody uses now.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := netfault.FreeAddress("udp")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// freeHTTP is a TCP address on this machine that nobody uses now.
func freeHTTP(t *testing.T) string {
	t.Helper()
	address, err := netfault.FreeAddress("tcp")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// start runs the server until it says that it is ready.
func (s *server) start() {
	s.t.Helper()
	if err := s.launch(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) launch() error {
	args := append([]string{"serve", "--data", s.dir, "--listen", s.address, "--http", s.http}, s.flags...)
	s.cmd = exec.Command(program, args...)
	s.log = newLineLog("ready")
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	cmd, ended := s.cmd, s.ended
	go func() { ended <- cmd.Wait() }()
	select {
	case <-s.log.found:
		return nil
	case err := <-ended:
		s.cmd = nil
		return fmt.Errorf("the server ended before it was ready: %v\n%s", err, s.log)
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the server was not ready within 30 s\n%s", s.log)
	}
}

// kill ends it as a crash does.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	err := <-s.ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		s.t.Fatalf("the server ended by itself: %v\n%s", err, s.log)
	}
	s.cmd = nil
}

// terminate ends it politely; it has to exit 0.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("after SIGTERM: %v\n%s", err, s.log)
		}
	case <-time.After(30 * time.Second):
		s.t.Errorf("no end within 30 s of SIGTERM\n%s", s.log)
		_ = s.cmd.Process.Kill() // reported above
		<-s.ended
	}
	s.cmd = nil
}

func (s *server) dial(options ...leat.DialOption) *leat.Bus {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	bus, err := leat.Dial(ctx, s.address, options...)
	if err != nil {
		s.t.Fatalf("Dial: %v", err)
	}
	s.t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	})
	return bus
}

// lineLog keeps what a process writes and tells when a line with a word came.
type lineLog struct {
	word  string
	found chan struct{}

	mu   sync.Mutex // guards the following
	text bytes.Buffer
	seen bool
}

func newLineLog(word string) *lineLog { return &lineLog{word: word, found: make(chan struct{})} }

// Write implements io.Writer.
func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.seen && strings.Contains(l.text.String(), l.word) {
		l.seen = true
		close(l.found)
	}
	return len(p), nil
}

// String gives the last lines.
func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	scanner := bufio.NewScanner(bytes.NewReader(l.text.Bytes()))
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// soon bounds what has to happen in a test.
func soon(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
