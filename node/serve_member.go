package node

import (
	"context"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// memberStream is a member of a group at a client.
type memberStream struct{}

func (*memberStream) drain(context.Context) {}

// serveMember refuses members: groups over QUIC are not there yet.
func (c *session) serveMember(_ transport.Stream, r *transport.Reader, h *wire.Header) error {
	var body wire.JoinBody
	if err := readBody(r, h, &body); err != nil {
		return err
	}
	return core.Errorf(core.CodeUnsupported, "join group "+core.Quote(body.Group), "groups over QUIC")
}
