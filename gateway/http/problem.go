package httpdoor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat/core"
)

// errorPages has a section for each code.
const errorPages = "https://github.com/leatbus/leat/blob/main/docs/errors.md#"

const problemType = "application/problem+json"

// Problem is every failed answer (RFC 9457).
type Problem struct {
	Type      string `json:"type" format:"uri" doc:"Names the kind of problem; the same as url"`
	Title     string `json:"title" doc:"What the code means, in one clause" example:"the topic does not exist"`
	Status    int    `json:"status" doc:"Status of the answer" example:"404"`
	Detail    string `json:"detail" doc:"What was tried and what was found"`
	Code      string `json:"code" doc:"Stable number of the error" example:"LEAT-2003"`
	Name      string `json:"name" doc:"Stable name of the error" example:"TOPIC_NOT_FOUND"`
	Hint      string `json:"hint" doc:"What to do"`
	URL       string `json:"url" format:"uri" doc:"Page about the error"`
	Retryable bool   `json:"retryable" doc:"Whether the same request may succeed later"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {"1"}}
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {"Bearer"}}
	}
	return nil
}

// statuses has a status for every code.
var statuses = map[core.Code]int{
	core.CodeInvalidConfig:     http.StatusUnprocessableEntity,
	core.CodeConfigMismatch:    http.StatusConflict,
	core.CodeInvalidName:       http.StatusUnprocessableEntity,
	core.CodeTopicExists:       http.StatusConflict,
	core.CodeTopicNotFound:     http.StatusNotFound,
	core.CodeRecordTooLarge:    http.StatusRequestEntityTooLarge,
	core.CodeInvalidRecord:     http.StatusUnprocessableEntity,
	core.CodeMixedPartitions:   http.StatusUnprocessableEntity,
	core.CodeFull:              http.StatusTooManyRequests,
	core.CodeClosed:            http.StatusServiceUnavailable,
	core.CodeLevelUnavailable:  http.StatusUnprocessableEntity,
	core.CodeOutOfSequence:     http.StatusConflict,
	core.CodeProducerFenced:    http.StatusConflict,
	core.CodePartitionUnknown:  http.StatusNotFound,
	core.CodeTailLost:          http.StatusConflict,
	core.CodeCodec:             http.StatusUnprocessableEntity,
	core.CodeStorageFull:       http.StatusInsufficientStorage,
	core.CodeLogFenced:         http.StatusInternalServerError,
	core.CodeCorrupt:           http.StatusInternalServerError,
	core.CodeLocked:            http.StatusConflict,
	core.CodeVersionTooNew:     http.StatusInternalServerError,
	core.CodePermission:        http.StatusInternalServerError,
	core.CodeIO:                http.StatusInternalServerError,
	core.CodeOffsetOutOfRange:  http.StatusRequestedRangeNotSatisfiable,
	core.CodeUnavailable:       http.StatusServiceUnavailable,
	core.CodeNotLeader:         http.StatusServiceUnavailable,
	core.CodeProtocol:          http.StatusBadGateway,
	core.CodeUnsupported:       http.StatusNotImplemented,
	core.CodeDraining:          http.StatusServiceUnavailable,
	core.CodeLimited:           http.StatusTooManyRequests,
	core.CodeNotEmbedded:       http.StatusNotImplemented,
	core.CodeWrongNode:         http.StatusConflict,
	core.CodeInvalidRequest:    http.StatusBadRequest,
	core.CodeUntrusted:         http.StatusBadGateway,
	core.CodeDenied:            http.StatusForbidden,
	core.CodeUnauthenticated:   http.StatusUnauthorized,
	core.CodeInsecure:          http.StatusForbidden,
	core.CodeFenced:            http.StatusConflict,
	core.CodeGroupNotFound:     http.StatusNotFound,
	core.CodeUnknownMember:     http.StatusConflict,
	core.CodeGroupActive:       http.StatusConflict,
	core.CodeStaleAck:          http.StatusConflict,
	core.CodeRejected:          http.StatusUnprocessableEntity,
	core.CodeAttemptsExhausted: http.StatusUnprocessableEntity,
	core.CodeNoResponders:      http.StatusServiceUnavailable,
	core.CodeResponderLost:     http.StatusBadGateway,
	core.CodeRequestFailed:     http.StatusBadGateway,
	core.CodeHandlerFailed:     http.StatusInternalServerError,
	core.CodeRedriving:         http.StatusConflict,
	core.CodeInternal:          http.StatusInternalServerError,
}

// badRequest is an error about the request itself, with a status of its own.
type badRequest struct {
	status int
	err    *core.Error
}

// Error is that of the cause.
func (e *badRequest) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *badRequest) Unwrap() error { return e.err }

// refuse makes an error about the request.
func refuse(status int, op, format string, args ...any) error {
	return &badRequest{status, core.Errorf(core.CodeInvalidRequest, op, format, args...)}
}

// problemOf makes an answer of an error. What is not ours is told as a bug, without its text.
func problemOf(err error) *Problem {
	var problem *Problem
	if errors.As(err, &problem) {
		return problem
	}
	status := 0
	var request *badRequest
	if errors.As(err, &request) {
		status = request.status
	}
	e := outward(err)
	row := e.Code.Info()
	page := errorPages + strings.ToLower(e.Code.String()+"-"+row.Name)
	return &Problem{
		Type: page, Title: row.Text, Status: cmp.Or(status, statuses[e.Code], http.StatusInternalServerError),
		Detail: detail(e), Code: e.Code.String(), Name: row.Name, Hint: core.HintFor(e), URL: page,
		Retryable: core.Retryable(e),
	}
}

// outward is an error as a client sees it: that a bus or producer closes means for it that the node drains.
func outward(err error) *core.Error {
	var e *core.Error
	var body *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		if e.Code == core.CodeClosed {
			return core.NewError(core.CodeDraining, e.Op, e.Err)
		}
		return e
	case errors.As(err, &body):
		return core.Errorf(core.CodeRecordTooLarge, "read body", "more than %d bytes", body.Limit)
	case errors.Is(err, context.Canceled):
		return core.NewError(core.CodeDraining, "serve HTTP", nil)
	case errors.Is(err, context.DeadlineExceeded):
		return core.Errorf(core.CodeUnavailable, "serve HTTP", "no answer of the bus in time")
	}
	return core.NewError(core.CodeInternal, "serve HTTP", nil)
}

// detail is what the error says beyond its code.
func detail(e *core.Error) string {
	text := e.Op
	if e.Err != nil {
		if text != "" {
			text += ": "
		}
		text += e.Err.Error()
	}
	return cmp.Or(text, e.Code.Info().Text)
}

// fail answers with a problem.
func (d *Door) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	d.log(r, p, err)
	body, err := json.Marshal(p)
	if err != nil {
		panic("httpdoor: a problem that JSON cannot spell") // texts and a number
	}
	header := w.Header()
	header["Content-Type"] = []string{problemType}
	for name, values := range p.GetHeaders() {
		header[name] = values
	}
	if d.ctx.Err() != nil {
		header["Connection"] = []string{"close"}
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who does not read it has gone
}

// log tells the operator what is not the client's doing.
func (d *Door) log(r *http.Request, p *Problem, err error) {
	if p.Status == http.StatusInternalServerError {
		d.logger.Error("a request has failed", "method", r.Method, "path", r.URL.Path, "code", p.Code, "error", err)
	}
}

// validation makes a problem of what huma finds wrong with a request.
func validation(status int, text string, errs ...error) huma.StatusError {
	parts := []string{text}
	for _, err := range errs {
		if err != nil {
			parts = append(parts, err.Error())
		}
	}
	code := core.CodeInvalidRequest
	if status >= http.StatusInternalServerError {
		code = core.CodeInternal
	}
	if status == http.StatusRequestEntityTooLarge {
		code = core.CodeRecordTooLarge
	}
	return problemOf(&badRequest{status, core.Errorf(code, "read request", "%s", strings.Join(parts, "; "))})
}

func init() { huma.NewError = validation } // the only way huma has
