// Package dialer lets tests of other packages give leat.Dial connections of their own: those of a simulated
// network.
//
//	test ── With(ctx, f) ──▶ leat.Dial(ctx, …) ── f ──▶ transport.Conn, now and at every reconnect
package dialer
