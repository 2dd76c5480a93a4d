package push

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Defaults and bounds of a Config.
const (
	defaultConcurrency = 10
	defaultTimeout     = 10 * time.Second
	defaultAttempts    = 16
	defaultRetryMin    = time.Second
	defaultRetryMax    = time.Hour

	concurrencyMost = 256
	timeoutLeast    = 10 * time.Millisecond
	timeoutMost     = 5 * time.Minute
	retryMost       = 24 * time.Hour
	urlBytesMost    = 2048
	leaseSlack      = 10 * time.Second // beyond twice the timeout: for the way to the node and back
)

// Config says what is pushed where. What is zero gets its default.
type Config struct {
	Name  string // as topics are named
	Topic string
	Group string // of the topic; push.NAME by default
	URL   string // https, of at most 2,048 bytes
	// Ordered keeps the order of each key: its next message is posted when the one before is settled.
	Ordered     bool
	Concurrency int           // POSTs at a time, 1 to 256; 10
	Rate        int64         // POSTs a second at most; 0: any
	Timeout     time.Duration // for a POST and its answer, 10 ms to 5 min; 10 s
	MaxAttempts int32         // until a message is a dead letter, negative for no bound; 16
	// RetryMin and RetryMax bound the pause after a POST that failed, which doubles with each; 1 s and 1 h.
	// Sixteen attempts take four hours so.
	RetryMin, RetryMax time.Duration
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.Group = cmp.Or(c.Group, "push."+c.Name)
	c.Concurrency = cmp.Or(c.Concurrency, defaultConcurrency)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.MaxAttempts = cmp.Or(c.MaxAttempts, defaultAttempts)
	c.RetryMin = cmp.Or(c.RetryMin, min(defaultRetryMin, cmp.Or(c.RetryMax, defaultRetryMin)))
	c.RetryMax = cmp.Or(c.RetryMax, max(defaultRetryMax, c.RetryMin))
	return c
}

// queue is the configuration of the group. A lease outlasts the POST by far.
func (c *Config) queue() leat.QueueConfig {
	return leat.QueueConfig{Lease: 2*c.Timeout + leaseSlack, MaxAttempts: c.MaxAttempts, Rate: c.Rate,
		Retry: leat.Backoff{Min: c.RetryMin, Max: c.RetryMax, Factor: 2, Jitter: 0.2}}
}

// options are those of the subscription to the topic: what it holds is what it can post at once.
func (c *Config) options() []leat.SubscribeOption {
	mode := leat.Queue
	if c.Ordered {
		mode = leat.KeyShared
	}
	return []leat.SubscribeOption{leat.Group(c.Group), mode(c.queue()), leat.MaxHeld(c.Concurrency)}
}

// check says what is wrong with a configuration that has its defaults.
func (c *Config) check() error {
	op := "push subscription " + core.Quote(c.Name)
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalidConfig, op, format, args...)
	}
	for _, name := range []struct{ kind, name string }{
		{"push subscription", c.Name}, {"topic", c.Topic}, {"group", c.Group},
	} {
		if err := core.ValidateName(name.kind, name.name); err != nil {
			return err
		}
	}
	if _, err := core.DeadLetterName(c.Topic, c.Group); err != nil {
		return err
	}
	switch {
	case c.Concurrency < 1 || c.Concurrency > concurrencyMost:
		return bad("concurrency %d: want 1 to %d", c.Concurrency, concurrencyMost)
	case c.Rate < 0:
		return bad("rate %d: want POSTs a second, or 0 for no bound", c.Rate)
	case c.Timeout < timeoutLeast || c.Timeout > timeoutMost:
		return bad("timeout %v: want %v to %v", c.Timeout, timeoutLeast, timeoutMost)
	case c.RetryMin < 0 || c.RetryMax < c.RetryMin || c.RetryMax > retryMost:
		return bad("pause from %v to %v: want 0 to %v, the first the shorter", c.RetryMin, c.RetryMax, retryMost)
	case c.MaxAttempts > math.MaxInt16:
		return bad("%d attempts: want at most %d, or a negative number for no bound", c.MaxAttempts, math.MaxInt16)
	}
	if err := checkURL(c.URL); err != nil {
		return bad("url: %w", err)
	}
	return nil
}

// checkURL takes what can be posted to. Errors do not show the URL: there may be secrets in it.
func checkURL(text string) error {
	if text == "" || len(text) > urlBytesMost {
		return fmt.Errorf("%d bytes: want 1 to %d", len(text), urlBytesMost)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return fmt.Errorf("byte %d is %q: want it percent-encoded", i, text[i])
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("want an absolute one, as in https://example.com/hook")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("scheme %s: want https", core.Quote(u.Scheme))
	case u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("there is no host in it")
	case u.User != nil:
		return fmt.Errorf("it names a user: signatures show who posts")
	case strings.Contains(text, "#"):
		return fmt.Errorf("it has a fragment, which is never sent")
	}
	if port := u.Port(); port == "0" || strings.HasSuffix(u.Host, ":") || len(port) > 5 ||
		len(port) == 5 && port > "65535" {
		return fmt.Errorf("port %s: want 1 to 65535", core.Quote(port))
	}
	return nil
}

// admit says whether a URL may be used here: plain HTTP only where that was allowed, and no address that the
// guard refuses.
func (o *Options) admit(c *Config) error {
	op := "push subscription " + core.Quote(c.Name)
	u, err := url.Parse(c.URL)
	if err != nil {
		return core.Errorf(core.CodeInvalidConfig, op, "url: want an absolute one")
	}
	if u.Scheme != "https" && !o.AllowHTTP {
		e := core.Errorf(core.CodeInvalidConfig, op, "url: %s is not encrypted", u.Scheme)
		e.Hint = "use https, or allow plain HTTP (leat serve --push-allow-http)"
		return e
	}
	if err := o.Guard.checkHost(u.Hostname()); err != nil {
		e := core.Errorf(core.CodeInvalidConfig, op, "url: %w", err)
		e.Hint = "use a public address, or allow the range (leat serve --push-allow)"
		return e
	}
	return nil
}
