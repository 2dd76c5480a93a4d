package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/leatbus/leat/core"
)

func TestPipeStreams(t *testing.T) {
	dialed, accepted := Pipe(testProtocol)
	defer dialed.Close(0, "")
	if dialed.Protocol() != testProtocol || accepted.Protocol() != testProtocol {
		t.Errorf("protocols %q and %q, want %q", dialed.Protocol(), accepted.Protocol(), testProtocol)
	}
	if got := accepted.RemoteAddr(); got.Network() != "pipe" || got.String() != "pipe" {
		t.Errorf("RemoteAddr = %v over %s", got, got.Network())
	}
	for name, ends := range map[string][2]Conn{"forth": {dialed, accepted}, "back": {accepted, dialed}} {
		here, there := openStream(t, ends[0], ends[1])
		want := bytes.Repeat([]byte("leat"), pipeBytes) // four times what the pipe holds
		go func() {
			_, _ = here.Write(want)
			_ = here.Close()
		}()
		got, err := io.ReadAll(there)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: read %d bytes, %v; want the %d sent", name, len(got), err, len(want))
		}
		if _, err = here.Write([]byte("x")); err == nil {
			t.Errorf("%s: Write after Close succeeded", name)
		}
		if n, err := there.Read(nil); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: Read of nothing at the end = %d, %v", name, n, err)
		}
	}
}

func TestPipeEnds(t *testing.T) {
	tests := []struct {
		code, here, there core.Code
	}{
		{0, core.CodeClosed, core.CodeUnavailable},
		{core.CodeDraining, core.CodeDraining, core.CodeDraining},
	}
	for _, tt := range tests {
		dialed, accepted := Pipe(testProtocol)
		here, there := openStream(t, dialed, accepted)
		if _, err := there.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		blocked := make(chan error, 1)
		go func() {
			_, err := here.Write(make([]byte, 2*pipeBytes))
			blocked <- err
		}()
		accepted.Close(tt.code, "because")
		accepted.Close(core.CodeInternal, "again")
		<-dialed.Done()
		wantCode(t, "Err of who closed", accepted.Err(), tt.here)
		wantCode(t, "Err of the other", dialed.Err(), tt.there)
		if err := <-blocked; err == nil {
			t.Error("a Write under way succeeded")
		}
		_, err := dialed.OpenStream(t.Context())
		wantCode(t, "OpenStream", err, tt.there)
		_, err = dialed.AcceptStream(t.Context())
		wantCode(t, "AcceptStream", err, tt.there)
		got, err := io.ReadAll(here)
		if string(got) != "last" {
			t.Errorf("read %q before the end, want what was written before it", got)
		}
		wantCode(t, "Read", err, pipeCode(tt.code))
	}
}

// pipeCode is what streams of both sides end with.
func pipeCode(code core.Code) core.Code {
	if code == 0 {
		return core.CodeUnavailable
	}
	return code
}

func TestPipeResets(t *testing.T) {
	dialed, accepted := Pipe(testProtocol)
	defer dialed.Close(0, "")
	here, there := openStream(t, dialed, accepted)
	if _, err := here.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	there.Reset(core.CodeProducerFenced)
	for name, s := range map[string]Stream{"here": here, "there": there} {
		_, err := s.Read(make([]byte, 1))
		wantCode(t, "Read "+name, err, core.CodeProducerFenced)
		_, err = s.Write([]byte("x"))
		wantCode(t, "Write "+name, err, core.CodeProducerFenced)
	}
}

func TestPipeWaitsNoLongerThanItsContext(t *testing.T) {
	dialed, accepted := Pipe(testProtocol)
	defer dialed.Close(0, "")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := accepted.AcceptStream(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("AcceptStream = %v, want the context's error", err)
	}
	for range pipeBacklog {
		if _, err := dialed.OpenStream(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dialed.OpenStream(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenStream beyond the backlog = %v, want the context's error", err)
	}
}
