package leat

import (
	"context"

	"github.com/leatbus/leat/transport"
)

// DialWith is Dial over connections that dial makes.
func DialWith(ctx context.Context, address string,
	dial func(ctx context.Context, address string) (transport.Conn, error), options ...DialOption) (*Bus,
	error) {
	var o dialOptions
	for _, option := range options {
		option(&o)
	}
	return dialBus(ctx, address, dial, o)
}
