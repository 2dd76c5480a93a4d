package node

import (
	"bytes"
	"errors"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

const maxRequests = 64 // of one connection at once

// runControl reads the control stream until it ends.
func (c *session) runControl(r *transport.Reader) error {
	for {
		h, err := nextFrame(r)
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Ping:
			pong := wire.Header{Type: wire.Pong, Arg: h.Arg}
			err = c.control.Send(pong.Append(nil))
		case wire.Pong:
		case wire.Request:
			err = c.request(r, &h)
		default:
			err = unexpected(&h, "on a control stream")
		}
		if err != nil {
			return err
		}
	}
}

// request answers one REQUEST on a goroutine of its own.
func (c *session) request(r *transport.Reader, h *wire.Header) error {
	payload, err := r.Small()
	if err != nil {
		return err
	}
	op, id := wire.Op(h.Aux), h.Arg
	if !c.requests.take(len(payload)) {
		return c.respond(id, nil, core.Errorf(core.CodeLimited, "request",
			"more than %d requests or %d bytes of them at once", maxRequests, wire.MaxOpenPayload))
	}
	payload = bytes.Clone(payload)
	c.work.Go(func() {
		defer c.requests.give(len(payload))
		answer, err := c.answer(op, payload)
		c.server.stats.request(op, err)
		if errors.Is(err, core.ErrProtocol) {
			c.end(err)
			return
		}
		if err := c.respond(id, answer, err); err != nil {
			c.end(err)
		}
	})
	return nil
}

// respond sends the answer of a request, or its error.
func (c *session) respond(id uint64, answer any, err error) error {
	h := wire.Header{Type: wire.Response, Arg: id}
	if err != nil {
		return c.control.Send(errorFrame(nil, h, err, false))
	}
	return c.control.Send(wire.Marshal(nil, h, answer))
}
