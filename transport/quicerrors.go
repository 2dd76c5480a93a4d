package transport

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/leatbus/leat/core"
	"github.com/quic-go/quic-go"
)

// quicError makes the *core.Error of what QUIC says; io.EOF stays.
func quicError(op string, err error) error {
	var (
		ours        *core.Error
		stream      *quic.StreamError
		application *quic.ApplicationError
		transport   *quic.TransportError
		version     *quic.VersionNegotiationError
	)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &stream):
		return core.Errorf(codeOf(uint64(stream.ErrorCode)), op, "the stream was reset %s", by(stream.Remote))
	case errors.As(err, &application):
		if !application.Remote && application.ErrorCode == 0 {
			return core.NewError(core.CodeClosed, op, nil)
		}
		return core.Errorf(codeOf(uint64(application.ErrorCode)), op, "the connection was closed %s: %s",
			by(application.Remote), core.Quote(application.ErrorMessage))
	case errors.As(err, &version):
		return core.NewError(core.CodeUnsupported, op, err)
	case errors.As(err, &transport):
		return core.NewError(transportCode(transport), op, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return core.NewError(core.CodeUnavailable, op, err)
	}
	// Silence, a reset by a restarted server, an error of the socket: the other side is out of reach.
	return core.NewError(core.CodeUnavailable, op, err)
}

// codeOf is the error behind an application code. 0 is a normal end, which is unexpected where it is an
// error at all.
func codeOf(number uint64) core.Code {
	switch {
	case number == 0:
		return core.CodeUnavailable
	case number > math.MaxUint16:
		return core.CodeProtocol
	}
	return core.Code(number)
}

func by(remote bool) string {
	if remote {
		return "by the other side"
	}
	return "by this side"
}

// TLS alerts (RFC 8446 §6). QUIC carries them as 0x100 plus the number (RFC 9001 §4.8).
const (
	alertFirst           = 0x100
	alertBadCertificate  = 42
	alertCertUnsupported = 43
	alertCertRevoked     = 44
	alertCertExpired     = 45
	alertCertUnknown     = 46
	alertUnknownCA       = 48
	alertAccessDenied    = 49
	alertProtocolVersion = 70
	alertCertRequired    = 116
	alertNoProtocol      = 120
)

// transportCode is the error behind a transport error. An alert about a certificate means UNTRUSTED to the
// side that raised it and DENIED to the other; one about a missing certificate is DENIED on both.
func transportCode(err *quic.TransportError) core.Code {
	if !err.ErrorCode.IsCryptoError() {
		switch err.ErrorCode {
		case quic.ConnectionRefused, quic.NoError, quic.InternalError, quic.NoViablePathError:
			return core.CodeUnavailable
		}
		return core.CodeProtocol
	}
	switch err.ErrorCode - alertFirst {
	case alertBadCertificate, alertCertUnsupported, alertCertRevoked, alertCertExpired, alertCertUnknown,
		alertUnknownCA:
		if err.Remote {
			return core.CodeDenied
		}
		return core.CodeUntrusted
	case alertCertRequired, alertAccessDenied:
		return core.CodeDenied
	case alertNoProtocol, alertProtocolVersion:
		return core.CodeUnsupported
	}
	return core.CodeProtocol
}
