package killtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	ackedMin      = 1000             // acknowledgements before a kill, or it does not count
	childPatience = 30 * time.Second // until a child has them
	pollEvery     = time.Millisecond
)

// process is a child seen from the parent.
type process struct {
	spec   childSpec
	cmd    *exec.Cmd
	stdin  io.Closer // open for as long as the parent lives
	stderr bytes.Buffer
	ended  chan error // gets what Wait answered, once
}

// forking is held while a process is started. Until it runs its program it has the files of this one, the
// locks of data folders among them: who opens a folder several times keeps others from being started.
var forking sync.RWMutex

func start(cmd *exec.Cmd) error {
	forking.Lock()
	defer forking.Unlock()
	return cmd.Start()
}

func startChild(spec childSpec) (*process, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &process{spec: spec, ended: make(chan error, 1)}
	p.cmd = exec.Command(os.Args[0], "-test.run=^$")
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	p.cmd.Stderr = &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := start(p.cmd); err != nil {
		return nil, err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	return p, nil
}

// awaitAcks waits until the child's journal has n complete entries.
func (p *process) awaitAcks(n int) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	deadline := time.After(childPatience)
	for {
		if info, err := os.Stat(p.spec.Acks); err == nil && info.Size() >= int64(n*ackBytes) {
			return nil
		}
		select {
		case <-ticker.C:
		case err := <-p.ended:
			p.ended <- err
			return p.died(err)
		case <-deadline:
			return errors.Join(fmt.Errorf("fewer than %d acknowledgements in %v", n, childPatience), p.kill())
		}
	}
}

// kill sends SIGKILL and checks that this is what the child died of.
func (p *process) kill() error {
	killErr := p.cmd.Process.Kill()
	err := <-p.ended
	var exit *exec.ExitError
	if killErr == nil && errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == syscall.SIGKILL {
			return nil
		}
	}
	return p.died(err)
}

func (p *process) died(err error) error {
	return fmt.Errorf("the child ended by itself: %v: %s", err, bytes.TrimSpace(p.stderr.Bytes()))
}

// moment says when to kill a child that has enough acknowledgements.
type moment struct {
	rolls int           // at that roll from now, if not 0
	delay time.Duration // and then this much later
}

// killAt waits for the moment and kills.
func (p *process) killAt(m moment) error {
	if m.rolls > 0 {
		if err := p.awaitRolls(m.rolls); err != nil {
			return errors.Join(fmt.Errorf("waiting for a roll: %w", err), p.kill())
		}
	}
	if m.delay > 0 {
		<-time.After(m.delay)
	}
	return p.kill()
}

func (p *process) awaitRolls(n int) error {
	watch, err := watchRolls(filepath.Join(p.spec.Data, "t", fmt.Sprint(topicID)))
	if err != nil {
		return err
	}
	return errors.Join(watch.wait(n, time.Now().Add(childPatience)), watch.close())
}
