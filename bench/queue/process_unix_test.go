//go:build unix

package queue

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

var errNotReady = errors.New("not ready")

// TestProcess: a server says where it is, rests, and ends with its stage; one that fails says why.
func TestProcess(t *testing.T) {
	s := &stage{workshop: &workshop{}, root: t.TempDir()}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	first := func(line []byte) (string, bool) {
		address, ok := strings.CutPrefix(string(line), "at ")
		return address, ok
	}
	patient := exec.Command("sh", "-c", "echo begin; echo at home; exec sleep 600")
	p, address, err := s.start(t.Context(), patient, first)
	if err != nil || address != "home" {
		t.Fatalf("start = %q, %v; want home", address, err)
	}
	for _, f := range []func() error{p.pause, p.resume, p.pause} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	ready := 0
	err = p.await(t.Context(), func() error {
		if ready++; ready < 3 {
			return errNotReady
		}
		return nil
	})
	if err != nil || ready != 3 {
		t.Errorf("await = %v after %d looks; want 3", err, ready)
	}
	if err := s.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	<-p.ended
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.start(t.Context(), exec.Command("sh", "-c", "echo no disk; exit 1"), first)
	if err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a server that fails = %v; want what it said", err)
	}
	p, _, err = s.start(t.Context(), exec.Command("false"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.await(t.Context(), func() error { return errNotReady }); err == nil {
		t.Error("await of a server that has ended = nil")
	}
	if err := s.close(); err == nil {
		t.Error("close = nil, though servers ended by themselves")
	}
	if _, _, err := s.start(t.Context(), exec.Command("/no/such/program"), nil); err == nil {
		t.Error("a program that is not there starts")
	}
}
