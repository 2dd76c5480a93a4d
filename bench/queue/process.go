package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

const (
	readyWait = time.Minute // for a server to be ready
	readyLook = 20 * time.Millisecond
	saidKept  = 4 << 10 // bytes of what a server said last
)

// process is a server in a process of its own. Its data is thrown away, so it ends by being killed.
type process struct {
	command *exec.Cmd
	input   io.Closer // of a server that ends with its standard input, or nil
	said    said
	ended   chan struct{}
	err     error // guarded by ended
}

// start starts a server that ends with the stage. wanted, if not nil, finds its address in the lines it
// writes.
func (s *stage) start(
	ctx context.Context, command *exec.Cmd, wanted func(line []byte) (address string, ok bool),
) (*process, string, error) {
	p := &process{command: command, ended: make(chan struct{})}
	p.said.wanted, p.said.found = wanted, make(chan string, 1)
	command.Stdout, command.Stderr = &p.said, &p.said
	ownGroup(command)
	name := filepath.Base(command.Path)
	if err := command.Start(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		p.err = command.Wait()
	}()
	s.later(p.kill)
	if wanted == nil {
		return p, "", nil
	}
	limit := time.NewTimer(readyWait)
	defer limit.Stop()
	select {
	case address := <-p.said.found:
		return p, address, nil
	case <-p.ended:
		return nil, "", p.failure("ended before it was ready")
	case <-limit.C:
		return nil, "", p.failure(fmt.Sprintf("was not ready within %v", readyWait))
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}

// startServer starts the command of bench/queue/server, which ends with this process.
func (s *stage) startServer(ctx context.Context, arguments ...string) (*process, string, error) {
	program, err := s.server(ctx)
	if err != nil {
		return nil, "", err
	}
	command := exec.Command(program, arguments...)
	input, err := command.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	p, address, err := s.start(ctx, command, func(line []byte) (string, bool) {
		return string(bytes.TrimSpace(line)), true
	})
	if err == nil {
		p.input = input
	}
	return p, address, err
}

// await calls ready until it has no error.
func (p *process) await(ctx context.Context, ready func() error) error {
	for deadline := time.Now().Add(readyWait); ; {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(p.failure(fmt.Sprintf("was not ready within %v", readyWait)), err)
		}
		select {
		case <-p.ended:
			return p.failure("ended before it was ready")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readyLook):
		}
	}
}

// failure says what became of a server, and what it said last.
func (p *process) failure(what string) error {
	return fmt.Errorf("%s %s; it said %q", filepath.Base(p.command.Path), what, p.said.last())
}

// pause keeps the server from running until resume.
func (p *process) pause() error { return pauseGroup(p.command.Process) }

func (p *process) resume() error { return resumeGroup(p.command.Process) }

// kill ends the server and all its children.
func (p *process) kill() error {
	select {
	case <-p.ended:
		return p.failure(fmt.Sprintf("ended by itself: %v", p.err))
	default:
	}
	err := killGroup(p.command.Process)
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// said keeps the end of what a process writes, and looks for its address there.
type said struct {
	mu     sync.Mutex
	kept   []byte // guarded by mu
	line   []byte // guarded by mu: begun and not ended
	wanted func(line []byte) (string, bool)
	found  chan string // capacity 1
}

// Write implements io.Writer and never fails.
func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, p...)
	s.kept = s.kept[max(0, len(s.kept)-saidKept):]
	if s.wanted == nil {
		return len(p), nil
	}
	s.line = append(s.line, p...)
	for {
		line, rest, whole := bytes.Cut(s.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		if address, ok := s.wanted(line); ok {
			s.found <- address
			s.wanted, s.line = nil, nil
			return len(p), nil
		}
		s.line = rest
	}
}

func (s *said) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(bytes.TrimSpace(s.kept))
}

// freePort is one that nobody listens at now.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}
