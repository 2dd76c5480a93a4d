package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What of an answer is looked at.
const (
	answerBytes   = 1 << 10
	headerBytes   = 32 << 10
	retryWaitMost = 24 * time.Hour
)

// verdict is what becomes of a message after a POST.
type verdict struct {
	kind  verdictKind
	delay time.Duration // until the next attempt; below 0: that of the group
	fault Fault         // why, unless it is done
}

type verdictKind uint8

const (
	done   verdictKind = iota // 2xx: ack
	again                     // nack
	gone                      // 410: nobody wants any more
	cutOff                    // we ended it: the message is given back
)

// Fault is a POST that was not answered by 2xx.
type Fault struct {
	Time      time.Time
	Status    int    // of the answer; 0: there was none
	Text      string // what happened
	Body      string // begin of the answer, at most 1 KiB, valid UTF-8
	Partition int32  // of the message
	Offset    int64
	Attempt   int32
}

// judge makes a verdict of an answer.
func judge(response *http.Response, body []byte, now time.Time) verdict {
	status := response.StatusCode
	v := verdict{kind: again, delay: -1, fault: Fault{Status: status, Body: validText(body)}}
	switch {
	case status >= 200 && status < 300:
		return verdict{kind: done}
	case status == http.StatusGone:
		v.kind, v.fault.Text = gone, "the receiver wants no more of it (410)"
	case status >= 300 && status < 400:
		v.fault.Text = fmt.Sprintf("a redirect (%d), which is not followed", status)
	default:
		v.fault.Text = strings.TrimSpace(fmt.Sprintf("status %d %s", status, http.StatusText(status)))
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if wait, ok := retryAfter(response.Header.Get("Retry-After"), now); ok {
			v.delay = wait
		}
	}
	return v
}

// failed makes a verdict of a POST that got no answer. stopped says that we ended it.
func failed(err error, timeout time.Duration, stopped bool) verdict {
	if stopped {
		return verdict{kind: cutOff}
	}
	v := verdict{kind: again, delay: -1}
	var refused refusal
	var network net.Error
	switch {
	case errors.As(err, &refused):
		v.fault.Text = "refused to connect: " + refused.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		v.fault.Text = fmt.Sprintf("no answer within %v", timeout)
	default:
		// A url.Error shows the URL, in which there may be secrets.
		for u := (*url.Error)(nil); errors.As(err, &u); err = u.Err {
		}
		v.fault.Text = validText([]byte(err.Error()))
	}
	return v
}

// retryAfter reads the header (RFC 9110 §10.2.3): seconds, or a date.
func retryAfter(text string, now time.Time) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(retryWaitMost/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), retryWaitMost), true
	}
	return 0, false
}

// readSome reads the begin of an answer. Enough is known without the rest.
func readSome(from io.Reader) []byte {
	body, _ := io.ReadAll(io.LimitReader(from, answerBytes)) // what came until the error is as good
	return body
}

func validText(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
