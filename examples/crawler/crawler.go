package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/html"

	"github.com/leatbus/leat"
)

// visit is a page to be fetched.
type visit struct {
	URL   string `json:"url"`
	Depth int    `json:"depth"` // links between it and the start
}

// triesMax is how often a page is tried that cannot be fetched. The group has a bound of its own, 16, which
// also holds where a crawler dies of a page.
const triesMax = 3

// pageMax bounds what is read of a page.
const pageMax = 1 << 20

// publish puts a page into the frontier. The bus knows those that were found before by their ids.
func publish(ctx context.Context, frontier *leat.Producer, f *findings, v visit) error {
	u, err := url.Parse(v.URL)
	if err != nil {
		return err
	}
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	receipt, err := frontier.Publish(ctx, leat.Message{Key: []byte(u.Host), Value: value, ID: idOf(v.URL)})
	if err == nil && receipt.Duplicate {
		f.add(func(f *findings) { f.known++ })
	}
	return err
}

// crawler is a member of the group.
type crawler struct {
	bus      *leat.Bus
	frontier *leat.Producer
	client   *http.Client
	options  options
	found    *findings
	resting  sync.WaitGroup // acknowledgements that wait for a host to have had its rest
}

// run fetches pages until ctx ends.
func (c *crawler) run(ctx context.Context) error {
	sub, err := c.bus.Subscribe("frontier", leat.Group("crawlers"), leat.KeyShared(), leat.MaxHeld(8))
	if err != nil {
		return err
	}
	defer sub.Close()
	defer c.resting.Wait()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := c.handle(ctx, m); err != nil && !errors.Is(err, leat.ErrStaleAck) {
			return err // of a stale one the lease was over: it comes again
		}
	}
	return nil
}

// handle fetches one page and publishes its links.
func (c *crawler) handle(ctx context.Context, m *leat.Message) error {
	var v visit
	if err := json.Unmarshal(m.Value, &v); err != nil {
		return m.Reject(err.Error())
	}
	links, err := c.fetch(ctx, v.URL)
	var busy busyError
	switch {
	case ctx.Err() != nil:
		return nil // the page goes back to the others when the subscription is closed
	case errors.As(err, &busy):
		c.found.add(func(f *findings) { f.busy++ })
		return m.Nack(max(busy.after, c.options.rest)) // this host waits, others do not
	case errors.Is(err, errNoPage):
		c.found.add(func(f *findings) { f.broken++ })
	case err != nil && m.Attempt < triesMax:
		return m.Nack(c.options.rest << m.Attempt)
	case err != nil:
		c.later(m, func(m *leat.Message) error { return m.Reject(err.Error()) })
		return nil
	default:
		if err := c.follow(ctx, v, links); err != nil {
			return err
		}
		c.found.add(func(f *findings) { f.pages[v.URL]++ })
	}
	c.later(m, (*leat.Message).Ack)
	return nil
}

// later answers for a page when its host has had its rest. Until then the group hands out no other page of
// the host, to no crawler anywhere; this one goes on meanwhile.
func (c *crawler) later(m *leat.Message, answer func(*leat.Message) error) {
	kept := m.Clone() // the loop reuses m
	c.resting.Add(1)
	time.AfterFunc(c.options.rest, func() {
		defer c.resting.Done()
		// Where the lease is over the page is fetched again, and its links are known.
		if err := answer(kept); err != nil {
			c.found.add(func(f *findings) { f.stale++ })
		}
	})
}

// follow publishes the links of a page, unless they lead too deep.
func (c *crawler) follow(ctx context.Context, from visit, links []string) error {
	for _, link := range links {
		if from.Depth == c.options.depth {
			c.found.add(func(f *findings) { f.tooDeep++ })
			continue
		}
		if err := publish(ctx, c.frontier, c.found, visit{URL: link, Depth: from.Depth + 1}); err != nil {
			return err
		}
	}
	return nil
}

// busyError says when a host wants to be asked again.
type busyError struct{ after time.Duration }

func (e busyError) Error() string { return fmt.Sprintf("busy for %v", e.after) }

var errNoPage = errors.New("there is no such page")

// fetch gets a page and returns the links in it.
func (c *crawler) fetch(ctx context.Context, page string) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, errNoPage
	}
	request.Header.Set("User-Agent", "leat-crawler")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusServiceUnavailable, response.StatusCode == http.StatusTooManyRequests:
		seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil || seconds < 0 || seconds > 3600 {
			seconds = 1
		}
		return nil, busyError{time.Duration(seconds) * time.Second}
	case response.StatusCode >= 500:
		return nil, fmt.Errorf("%s: %s", page, response.Status)
	case response.StatusCode != http.StatusOK:
		return nil, errNoPage
	}
	return linksOf(response.Request.URL, io.LimitReader(response.Body, pageMax))
}

// linksOf reads the links of a page, each once, without what stands behind #.
func linksOf(base *url.URL, body io.Reader) (links []string, err error) {
	seen := map[string]bool{}
	tokens := html.NewTokenizer(body)
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if err := tokens.Err(); !errors.Is(err, io.EOF) {
				return nil, err
			}
			return links, nil
		case html.StartTagToken:
			token := tokens.Token()
			for _, a := range token.Attr {
				if token.Data != "a" || a.Key != "href" {
					continue
				}
				u, err := base.Parse(a.Val)
				if err != nil || u.Scheme != "http" && u.Scheme != "https" {
					continue
				}
				u.Fragment = ""
				if link := u.String(); !seen[link] {
					seen[link] = true
					links = append(links, link)
				}
			}
		}
	}
}
