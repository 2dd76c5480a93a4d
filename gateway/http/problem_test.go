package httpdoor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestStatuses: every code has one that is a failure, and the retryable ones tell clients to come back.
func TestStatuses(t *testing.T) {
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range core.Codes {
		status := statuses[row.Code]
		if status < 400 || status > 599 || http.StatusText(status) == "" {
			t.Errorf("%v has status %d", row.Code, status)
		}
		p := problemOf(core.NewError(row.Code, "", nil))
		if p.Status != status && row.Code != core.CodeClosed || p.Detail == "" {
			t.Errorf("%v = %+v", row.Code, p)
		}
		anchor := p.URL[strings.Index(p.URL, "#")+1:]
		if title := "## " + strings.ToUpper(strings.Replace(anchor[5:], "-", " ",
			1)); row.Code != core.CodeClosed &&
			!strings.Contains(string(page), strings.Replace(title, "## ", "## LEAT-", 1)+"\n") {
			t.Errorf("%v points to %s, which docs/errors.md lacks", row.Code, anchor)
		}
	}
	if len(statuses) != len(core.Codes) {
		t.Errorf("%d statuses for %d codes", len(statuses), len(core.Codes))
	}
}

func TestProblemOf(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		code   core.Code
		detail string
	}{
		"ours": {core.Errorf(core.CodeFull, "publish", "no room"), 429, core.CodeFull, "publish: no room"},
		"wrapped": {fmt.Errorf("x: %w", core.ErrTopicExists), 409, core.CodeTopicExists,
			"the topic exists already"},
		"closed":   {core.Errorf(core.CodeClosed, "read", "gone"), 503, core.CodeDraining, "read: gone"},
		"not ours": {errors.New("secret"), 500, core.CodeInternal, "serve HTTP"},
		"ended":    {context.Canceled, 503, core.CodeDraining, "serve HTTP"},
		"late": {context.DeadlineExceeded, 503, core.CodeUnavailable,
			"serve HTTP: no answer of the bus in time"},
		"large": {&http.MaxBytesError{Limit: 7}, 413, core.CodeRecordTooLarge,
			"read body: more than 7 bytes"},
		"a bad request": {refuse(415, "read", "no %s", "x"), 415, core.CodeInvalidRequest, "read: no x"},
		"huma": {validation(422, "bad", errors.New("a"), nil), 422, core.CodeInvalidRequest,
			"read request: bad; a"},
		"huma fails":   {validation(500, "bad"), 500, core.CodeInternal, "read request: bad"},
		"huma's limit": {validation(413, "bad"), 413, core.CodeRecordTooLarge, "read request: bad"},
	} {
		p := problemOf(tt.err)
		if p.Status != tt.status || p.Code != tt.code.String() || p.Detail != tt.detail {
			t.Errorf("%s: problemOf(%v) = %+v; want %d %v %q", name, tt.err, p, tt.status, tt.code, tt.detail)
		}
		if retry := p.GetHeaders().Get("Retry-After") != ""; retry != (tt.status == 429 || tt.status == 503) {
			t.Errorf("%s: Retry-After %v", name, retry)
		}
	}
}
