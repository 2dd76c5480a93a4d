package dialer

import (
	"context"

	"github.com/leatbus/leat/transport"
)

// Func makes a connection to one address. The end of ctx afterwards does not end the connection.
type Func func(ctx context.Context, address string) (transport.Conn, error)

type key struct{}

// With makes a leat.Dial that gets the context dial with f, as long as its bus is open.
func With(ctx context.Context, f Func) context.Context { return context.WithValue(ctx, key{}, f) }

// From gives the function that With put there, or nil.
func From(ctx context.Context) Func {
	f, _ := ctx.Value(key{}).(Func)
	return f
}
