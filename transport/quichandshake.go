package transport

import (
	"context"
	"errors"
	"time"

	"github.com/leatbus/leat/internal/clock"
	"github.com/quic-go/quic-go"
)

// handshakeBegan is the key of the time of a connection's first packet, in the context of the connection.
type handshakeBegan struct{}

// beginHandshake notes when connections begin, and tells refused of those whose TLS this side refuses.
func beginHandshake(refused func(error)) func(context.Context, *quic.ClientInfo) (context.Context, error) {
	return func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
		if refused != nil {
			context.AfterFunc(ctx, func() {
				var failure *quic.TransportError
				if errors.As(context.Cause(ctx), &failure) && failure.ErrorCode.IsCryptoError() && !failure.Remote {
					refused(quicError("handshake", failure))
				}
			})
		}
		return context.WithValue(ctx, handshakeBegan{}, clock.System.Mono()), nil
	}
}

// handshakeTook is the time since beginHandshake; 0 where it was not called.
func handshakeTook(ctx context.Context) time.Duration {
	began, ok := ctx.Value(handshakeBegan{}).(int64)
	if !ok {
		return 0
	}
	return time.Duration(clock.System.Mono() - began)
}
