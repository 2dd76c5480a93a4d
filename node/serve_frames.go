package node

import (
	"context"
	"errors"
	"io"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// oneFrame reads a header. One of an unknown type is to be skipped, which the next call does, unless the
// sender says that it must be understood.
func oneFrame(r *transport.Reader) (h wire.Header, known bool, err error) {
	if h, err = r.Next(); err != nil {
		return h, false, err
	}
	if h.Type.Known() {
		return h, true, nil
	}
	if h.Flags&wire.FlagMustUnderstand != 0 {
		return h, false, core.Errorf(core.CodeUnsupported, "read frame", "%v", h.Type)
	}
	return h, false, nil
}

// nextFrame reads the header of the next frame of a known type.
func nextFrame(r *transport.Reader) (wire.Header, error) {
	for {
		if h, known, err := oneFrame(r); known || err != nil {
			return h, err
		}
	}
}

// readBody reads a JSON payload.
func readBody(r *transport.Reader, h *wire.Header, body any) error {
	payload, err := r.Small()
	if err != nil {
		return err
	}
	return wire.Unmarshal(h.Type, payload, body)
}

// unexpected is the error of a known frame on the wrong stream or in the wrong state.
func unexpected(h *wire.Header, where string) error { return wire.Errorf("%v %s", h.Type, where) }

// endStream tells the other side that a stream is over: normally, or with the code of err.
func endStream(stream transport.Stream, err error) {
	if err == nil || errors.Is(err, io.EOF) {
		_ = stream.Close() // a connection that is gone has no use for it
		return
	}
	stream.Reset(core.CodeOf(outward(err)))
}

// outward is an error as a client sees it: that this node closes means for a client that it drains.
func outward(err error) error {
	var e *core.Error
	switch {
	case errors.As(err, &e):
		if e.Code == core.CodeClosed {
			return core.NewError(core.CodeDraining, e.Op, e.Err)
		}
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return core.NewError(core.CodeDraining, "", err)
	}
	return err
}

// errorFrame appends a frame whose payload is the body of err. codeInArg says where its code goes.
func errorFrame(dst []byte, h wire.Header, err error, codeInArg bool) []byte {
	code, body := wire.ErrorOf(outward(err))
	if codeInArg {
		h.Arg = uint64(code)
	} else {
		h.Aux = uint16(code)
	}
	return wire.Marshal(dst, h, &body)
}

// ignoreEOF makes a stream that the client ended end normally.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
