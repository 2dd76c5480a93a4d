package leat_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestDialRefused: where nothing listens, Dial fails at once if asked to, and says everything once.
func TestDialRefused(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := socket.LocalAddr().String()
	_ = socket.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = leat.Dial(ctx, address, leat.WithRefusal())
	if !errors.Is(err, leat.ErrUnavailable) || ctx.Err() != nil {
		t.Fatalf("dial: %v", err)
	}
	if n := strings.Count(err.Error(), "cannot be reached"); n != 1 {
		t.Errorf("%q says %d times that it cannot be reached", err, n)
	}
	patient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = leat.Dial(patient, address); !errors.Is(err, leat.ErrUnavailable) || patient.Err() == nil {
		t.Errorf("patient dial: %v", err)
	}
}
