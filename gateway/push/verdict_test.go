package push

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status int
		after  string
		kind   verdictKind
		delay  time.Duration
	}{
		{200, "", done, 0},
		{204, "", done, 0},
		{299, "60", done, 0},
		{301, "", again, -1},
		{304, "", again, -1},
		{400, "", again, -1},
		{404, "60", again, -1},
		{410, "", gone, -1},
		{429, "", again, -1},
		{429, "7", again, 7 * time.Second},
		{429, "0", again, 0},
		{429, "-7", again, -1},
		{429, "soon", again, -1},
		{429, "99999999999", again, 24 * time.Hour},
		{429, "99999999999999999999999", again, -1},
		{503, "Thu, 26 Nov 2026 12:01:00 GMT", again, time.Minute},
		{503, "Thu, 26 Nov 2026 11:00:00 GMT", again, 0},
		{503, "Thu, 26 Nov 2037 11:00:00 GMT", again, 24 * time.Hour},
		{500, "60", again, -1},
		{599, "", again, -1},
	} {
		response := &http.Response{StatusCode: tt.status, Header: http.Header{}}
		if tt.after != "" {
			response.Header.Set("Retry-After", tt.after)
		}
		v := judge(response, []byte("a\xffb"), now)
		if v.kind != tt.kind || v.kind != done && v.delay != tt.delay {
			t.Errorf("%d, Retry-After %q = %+v; want %v after %v", tt.status, tt.after, v, tt.kind, tt.delay)
		}
		if v.kind != done && (v.fault.Status != tt.status || v.fault.Text == "" || v.fault.Body != "a\uFFFDb") {
			t.Errorf("%d: fault %+v", tt.status, v.fault)
		}
	}
}

// TestFailed: what went wrong is told, and the URL is not, as there may be secrets in it.
func TestFailed(t *testing.T) {
	wrap := func(err error) error { return &url.Error{Op: "Post", URL: "https://a/?key=hush", Err: err} }
	for want, err := range map[string]error{
		"no answer within 3s":        wrap(context.DeadlineExceeded),
		"refused to connect: a wall": wrap(refusal{errors.New("a wall")}),
		"a riddle":                   wrap(wrap(errors.New("a riddle"))),
	} {
		v := failed(err, 3*time.Second, false)
		if v.kind != again || v.delay >= 0 || v.fault.Text != want || strings.Contains(v.fault.Text, "hush") {
			t.Errorf("%v = %+v; want %q", err, v, want)
		}
		if v := failed(err, 3*time.Second, true); v.kind != cutOff {
			t.Errorf("%v, ended by us = %+v", err, v)
		}
	}
}
