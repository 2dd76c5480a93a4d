package dialer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/leatbus/leat/internal/dialer"
	"github.com/leatbus/leat/transport"
)

func TestFromGivesWhatWithPut(t *testing.T) {
	if dialer.From(t.Context()) != nil {
		t.Error("a plain context has a dialer")
	}
	want := errors.New("mine")
	ctx := dialer.With(t.Context(), func(context.Context, string) (transport.Conn, error) { return nil, want })
	if _, err := dialer.From(ctx)(ctx, "here:1"); !errors.Is(err, want) {
		t.Errorf("the function answered %v, want %v", err, want)
	}
}
